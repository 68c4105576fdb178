// Builds any value from bytes: each one says what comes next, and nothing is as a decoder should have it.
function decodeUplink(input) {
  var bytes = input.bytes, at = 0, last = {};
  function next() {
    return at < bytes.length ? bytes[at++] : 0;
  }
  function text() {
    var made = '';
    for (var left = next() & 15; left > 0; left--) made += String.fromCharCode((next() << 8) | next());
    return made;
  }
  function value(depth) {
    var made, left;
    switch (next() & 31) {
      case 1: return next();
      case 2: return next() / -7;
      case 3: return Math.pow(2, next() * 8 - 1100);
      case 4: return NaN;
      case 5: return -0;
      case 6: return undefined;
      case 7: return true;
      case 8: return text();
      case 9: return new Date(next() * 1e12 - 1e14);
      case 10: return function () {};
      case 11: return Symbol('s');
      case 12: return last;
      case 13: return new Uint8Array(bytes);
      case 14: return new Float64Array([NaN, next() / 3]);
      case 15: return new Map([[1, 2]]);
      case 16: return { get trap() { throw new TypeError(text()); } };
      case 17: return { toJSON: function () { return value(depth); } };
      case 18: return new Array(next() << 8);
      case 19: return Object.create({ inherited: 1 }, { own: { value: 2, enumerable: true } });
      case 20: return BigInt(next()) << BigInt(next());
      case 21: throw next() > 9 ? text() : new Error(text());
      case 22: return new String(text());
      case 23: return /r/g;
      case 24: return text().repeat(next() << 4);
      case 25: return [, next()];
      case 26: return Object(Symbol.iterator);
    }
    made = next() & 1 ? [] : {};
    last = made;
    for (left = next() & 7; left > 0 && depth < 40; left--) {
      if (Array.isArray(made)) made.push(value(depth + 1));
      else made[text()] = value(depth + 1);
    }
    return made;
  }
  var answer = {};
  for (var left = next() & 7; left > 0; left--) answer[['data', 'warnings', 'errors', 'other'][next() & 3]] = value(0);
  if (input.fPort > 99) return value(0);
  if (!answer.data) answer.data = { value: value(0) };
  return answer;
}

function normalizeUplink(input) {
  return { data: [{ air: input.data }, { time: String(input.data.value), position: input.data }] };
}
