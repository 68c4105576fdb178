// Calls the built-in of a number with a receiver and arguments that are as bad as can be.
function pick(n) {
    switch (n) {
        // CASES
    }
}
function big() {
    var text = 'x';
    for (var i = 0; i < 17; i++) text += text;
    return text;
}
function receiver(n) {
    switch (n) {
        case 0: return new Array(4294967295);
        case 1: return { length: 9007199254740991, [Symbol.iterator]: [].values };
        case 2: return { n: 0, get length() { return this.n++ ? 9007199254740991 : 1 } };
        case 3: return big();
        case 4: return new Uint8Array(100000);
        case 5:
            var own = [1, 2];
            own.constructor = { [Symbol.species]: function () { own.length = 4294967295; return own } };
            Object.defineProperty(own, 0, { get: function () { own.length = 4294967295; return own } });
            return own;
        default: return /(x+x+)+y/g;
    }
}
function args(n, self) {
    switch (n) {
        case 0: return [self, self, self];
        case 1: return [new Array(4294967295), 4294967295];
        case 2: return [{ length: 9007199254740991 }, 1, { length: 9007199254740991 }];
        case 3: return [big(), big()];
        case 4: return [4294967295, 1];
        default: return [function () { return true }, { valueOf: function () { self.length = 4294967295; return 1 } }];
    }
}
function decodeUplink(input) {
    var b = input.bytes, f = pick(b[0] | b[1] << 8), self = receiver(b[2]), given = args(b[3], self);
    try {
        if (b[4]) new f(...given);
        else f.call(self, ...given);
    } catch (e) { }
    return { data: {} };
}
