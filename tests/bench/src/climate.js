// A sensor for temperature, humidity and its battery, in 11 bytes on port 2; our own, after what is common.
function signed(value) {
  return value > 0x7fff ? value - 0x10000 : value;
}

function decodeUplink(input) {
  var b = input.bytes;
  switch (input.fPort) {
    case 2:
    case 6: {
      if (b.length !== 11) return { errors: ['wrong length'] };
      var data = {};
      data.battery = (((b[0] << 8) | b[1]) & 0x3fff) / 1000;
      data.batteryState = b[0] >> 6;
      data.temperature = signed((b[2] << 8) | b[3]) / 100;
      data.humidity = ((b[4] << 8) | b[5]) / 10;
      switch (b[6] & 0x7f) {
        case 0:
          data.probe = 'none';
          break;
        case 1:
          data.probe = 'temperature';
          data.probeTemperature = parseFloat((signed((b[7] << 8) | b[8]) / 100).toFixed(2));
          break;
        case 4:
          data.probe = 'contact';
          data.closed = b[7] === 1;
          break;
        default:
          return { errors: ['unknown probe'] };
      }
      return data.battery < 2.5 ? { data: data, warnings: ['battery low'] } : { data: data };
    }
    default:
      return { errors: ['unknown FPort'] };
  }
}
