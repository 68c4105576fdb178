var names = [];
// Names and lengths, and whether each can be called with `new`.
[Array.prototype, Object.getPrototypeOf(Uint8Array).prototype, String.prototype, RegExp.prototype, Function.prototype,
    DataView.prototype, Object, Reflect, JSON, Math, Array, String, Object.getPrototypeOf(Uint8Array), Uint8Array, Map]
    .forEach(function (owner) {
        Reflect.ownKeys(owner).forEach(function (key) {
            var f = (Object.getOwnPropertyDescriptor(owner, key) || {}).value;
            if (typeof f !== 'function' || key === 'constructor' || key === 'unmetered') return;
            // An accessor where built-ins are frozen.
            if (owner === Function.prototype && key === 'toString') return;
            var desc = Object.getOwnPropertyDescriptor(owner, key);
            names.push(String(key) + ' ' + f.name + ' ' + f.length + ' ' + ('prototype' in f));
        });
    });
[Uint8Array, Float64Array, RegExp, BigInt, BigInt64Array].forEach(function (C) {
    names.push(C.name + C.length + (C.prototype.constructor === C) + Object.getOwnPropertyNames(C).sort() + (C === globalThis[C.name]));
});
return { data: { names: names } };
