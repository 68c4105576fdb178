// Lists every function that a script can reach, by the object that has it: `natives` are the engine's, `others` ours.
function decodeUplink() {
    var seen = [], natives = {}, others = {};
    function isNative(f) { return /\[native code\]/.test(Function.prototype.toString.call(f)); }
    function look(value, path, owner, name) {
        if ((typeof value !== 'object' && typeof value !== 'function') || value === null || seen.includes(value)) return;
        seen.push(value);
        if (typeof value === 'function') {
            var kind = isNative(value) ? natives : others;
            (kind[owner] = kind[owner] || []).push(name);
        }
        Reflect.ownKeys(value).forEach(function (key) {
            var desc = Reflect.getOwnPropertyDescriptor(value, key);
            var word = typeof key === 'symbol' ? '[' + key.description + ']' : key;
            var at = path === 'globalThis' ? word : path + (typeof key === 'symbol' ? word : '.' + word);
            if ('value' in desc) return look(desc.value, at, path, word);
            // One that gives a built-in which may be overridden.
            if (desc.get && !isNative(desc.get)) look(desc.get.call(value), at, path, word);
            look(desc.get, at, path, 'get:' + word);
            look(desc.set, at, path, 'set:' + word);
        });
        var proto = Object.getPrototypeOf(value);
        if (proto) look(proto, 'Object.getPrototypeOf(' + path + ')', 'nobody', path);
    }
    var roots = {
        'Object.prototype': Object.prototype, 'Function.prototype': Function.prototype,
        'Object.getPrototypeOf(Uint8Array)': Object.getPrototypeOf(Uint8Array), globalThis: globalThis,
        'Object.getPrototypeOf(function* () {})': Object.getPrototypeOf(function* () { }),
        'Object.getPrototypeOf(async function () {})': Object.getPrototypeOf(async function () { }),
        'Object.getPrototypeOf(async function* () {})': Object.getPrototypeOf(async function* () { }),
        'Object.getPrototypeOf([].values())': Object.getPrototypeOf([].values()),
        'Object.getPrototypeOf(new Map().entries())': Object.getPrototypeOf(new Map().entries()),
        'Object.getPrototypeOf(new Set().values())': Object.getPrototypeOf(new Set().values()),
        'Object.getPrototypeOf(""[Symbol.iterator]())': Object.getPrototypeOf(''[Symbol.iterator]()),
    };
    Object.keys(roots).forEach(function (path) { look(roots[path], path, 'nobody', path) });
    look(Object.getPrototypeOf((function () { 'use strict'; return arguments })()), 'arguments', 'nobody', 'arguments');
    return { data: { natives: natives, others: others } };
}
