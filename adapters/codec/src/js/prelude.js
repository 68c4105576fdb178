// Runs once in every context, before the script: takes away what a decoder may not have, and returns the functions
// with which the host calls it. `guard` freezes the built-ins, so that no call can leave anything in them.
(function () {
    'use strict';
    var g = globalThis, OP = Object.prototype, FP = Function.prototype;
    var ownKeys = Reflect.ownKeys, getDesc = Reflect.getOwnPropertyDescriptor, define = Reflect.defineProperty,
        getProto = Reflect.getPrototypeOf, apply = Reflect.apply, remove = Reflect.deleteProperty,
        isExtensible = Reflect.isExtensible, freeze = Object.freeze, isFrozen = Object.isFrozen, is = Object.is,
        isView = ArrayBuffer.isView, getTime = Date.prototype.getTime, toISO = Date.prototype.toISOString,
        typedLength = getDesc(getProto(Uint8Array.prototype), 'length').get,
        mapSize = getDesc(Map.prototype, 'size').get, setSize = getDesc(Set.prototype, 'size').get,
        boxed = [Number.prototype.valueOf, String.prototype.valueOf, Boolean.prototype.valueOf],
        DateOf = Date, NumberOf = Number, StringOf = String, TypeOf = TypeError, Missing = undefined;
    var SAFE = BigInt(Number.MAX_SAFE_INTEGER), WIDE = 2n ** 256n;

    function drop(object, names) {
        for (var i = 0; i < names.length; i++) delete object[names[i]];
    }

    // Code from strings could make global `let` bindings, which nobody can find again.
    function withoutConstructor(proto, name) {
        var F = function () { throw new EvalError('a codec cannot make code from strings'); };
        define(F, 'name', { value: name });
        define(F, 'prototype', { value: proto, writable: false });
        define(proto, 'constructor', { value: F });
        return F;
    }
    // The objects that no property leads to.
    function hidden() {
        return [function* () { }, async function () { }, async function* () { }, [][Symbol.iterator](),
            new Map()[Symbol.iterator](), new Set()[Symbol.iterator](), ''[Symbol.iterator]()].map(getProto);
    }
    define(g, 'Function', { value: withoutConstructor(FP, 'Function') });
    hidden().slice(0, 3).forEach(function (proto) { withoutConstructor(proto, 'Function'); });
    drop(g, ['eval', 'queueMicrotask', 'DisposableStack', 'AsyncDisposableStack', 'SuppressedError', 'Iterator',
        'AggregateError', 'SharedArrayBuffer', 'Atomics', 'Float16Array', 'WeakMap', 'WeakSet', 'InternalError']);
    // The first two are setters of a state in the engine.
    drop(Error, ['stackTraceLimit', 'prepareStackTrace', 'captureStackTrace']);
    drop(Array, ['fromAsync']);
    drop(String.prototype, ['anchor', 'big', 'blink', 'bold', 'fixed', 'fontcolor', 'fontsize', 'italics', 'link',
        'small', 'strike', 'sub', 'sup', 'matchAll']);
    drop(RegExp.prototype, [Symbol.matchAll]);
    drop(Promise, ['all', 'allSettled', 'any', 'try', 'race', 'withResolvers']);
    drop(Set.prototype, ['isDisjointFrom', 'isSubsetOf', 'isSupersetOf', 'intersection', 'difference',
        'symmetricDifference', 'union']);
    var iterator = getProto(getProto([][Symbol.iterator]()));
    ownKeys(iterator).forEach(function (key) { if (key !== Symbol.iterator) delete iterator[key]; });

    var nothing = function () { }, console = {};
    ['log', 'info', 'warn', 'error', 'debug', 'trace'].forEach(function (name) { console[name] = nothing; });
    define(g, 'console', { value: console, writable: true, configurable: true });

    // A frozen prototype would forbid `own.toString = …` too. With an accessor the assignment makes an own property.
    function allowOverride(proto, key) {
        var desc = getDesc(proto, key);
        if (!desc || !('value' in desc)) return;
        var value = desc.value;
        define(proto, key, {
            get: function () { return value; },
            set: function (own) {
                if (this === proto) throw new TypeError('a codec cannot change built-in objects while it decodes');
                define(this, key, { value: own, writable: true, enumerable: true, configurable: true });
            },
            configurable: false,
        });
    }

    function walk(object) {
        if (isFrozen(object)) return;
        var keys = ownKeys(object), i;
        if (object !== g) freeze(object);
        else for (i = 0; i < keys.length; i++) {
            define(g, keys[i], getDesc(g, keys[i]).get ? { configurable: false }
                : { writable: false, configurable: false });
        }
        // `length` and `name`: a plain function of the engine.
        if (typeof object === 'function' && keys.length === 2) return;
        var proto = getProto(object);
        if (proto) walk(proto);
        for (i = 0; i < keys.length; i++) {
            var desc = getDesc(object, keys[i]), value = desc.value;
            if (value !== g && (typeof value === 'function' || (typeof value === 'object' && value))) walk(value);
            if (desc.get) walk(desc.get);
            if (desc.set) walk(desc.set);
        }
    }

    var known = Object.create(null), count = 0, begin, used;
    // Freezes everything, with the guards in place.
    function guard(guards) {
        begin = guards[0];
        used = guards[1];
        ownKeys(OP).forEach(function (key) { if (key !== '__proto__') allowOverride(OP, key); });
        ['constructor', 'toString'].forEach(function (key) { allowOverride(FP, key); });
        [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].forEach(function (E) {
            ['constructor', 'name', 'message', 'toString'].forEach(function (key) { allowOverride(E.prototype, key); });
        });
        hidden().forEach(walk);
        walk(g);
        ownKeys(g).forEach(function (key) { known[key] = true; count++; });
    }
    // Takes away the globals that a call made. False when the global object is no longer what it was.
    function clean() {
        var keys = ownKeys(g), found = 0;
        for (var i = 0; i < keys.length; i++) {
            if (known[keys[i]]) found++;
            else if (!remove(g, keys[i])) return false;
        }
        return found === count;
    }
    // After a call: 0 when the context cannot be used again, else 1, and 2 more when the call did what is not for its
    // caller's thread. `more` says that the global object has more enumerable names than before.
    function finish(more) {
        var flags = used();
        if ((more || flags & 1) && !clean()) return 0;
        if (!isExtensible(g) || getProto(g) !== OP) return 0;
        return 1 + (flags & 2);
    }

    // Everything that a script could change in the built-ins, to compare later.
    function fingerprint(globals) {
        var seen = new Set(), list = [];
        function look(object) {
            if (seen.has(object)) return;
            seen.add(object);
            var keys = object === g ? globals : ownKeys(object);
            var proto = getProto(object);
            list.push(object, keys.length, proto);
            if (proto) look(proto);
            for (var i = 0; i < keys.length; i++) {
                var desc = getDesc(object, keys[i]) || {}, parts = [desc.value, desc.get, desc.set];
                list.push(keys[i]);
                for (var j = 0; j < 3; j++) {
                    list.push(parts[j]);
                    if ((typeof parts[j] === 'object' && parts[j]) || typeof parts[j] === 'function') look(parts[j]);
                }
            }
        }
        look(g);
        hidden().forEach(look);
        return list;
    }
    var globals, before;
    function remember() {
        globals = ownKeys(g);
        before = fingerprint(globals);
    }
    // Whether the built-ins are other than at `remember`.
    function changed() {
        var now = fingerprint(globals);
        if (now.length !== before.length) return true;
        for (var i = 0; i < now.length; i++) if (!is(now[i], before[i])) return true;
        return false;
    }

    // Which of these names the script defines.
    function entries(factory, names, withModule) {
        var module = withModule ? { exports: {} } : undefined;
        var found = withModule ? factory(module, module.exports) : factory();
        var exported = withModule && module.exports ? module.exports : {};
        return names.filter(function (name, place) {
            return typeof (found[place] === undefined ? exported[name] : found[place]) === 'function';
        });
    }

    var MISSING = {};
    // Runs the script's top level in new bindings and calls the function at this place in what it returns, else the
    // exported one of this name, where scripts export. `subject` is the bytes, or the data for the older styles that
    // encode, or MISSING when the bytes are the last arguments. Without `tags` there is no device. Returns MISSING when the script has no such function this time.
    function invoke(factory, place, name, here, style, subject, fPort, ms, variables, data, id, tags, radio,
        previous, ...bytes) {
        if (begin) begin(here);
        if (subject === MISSING) subject = bytes;
        var found;
        if (name !== undefined) {
            var module = { exports: {} };
            found = factory(module, module.exports)[place];
            if (found === undefined && module.exports) found = module.exports[name];
        } else {
            found = factory()[place];
        }
        if (typeof found !== 'function') return MISSING;
        if (style === 1) return found(fPort, subject, variables || {});
        if (style === 2) return found(subject, fPort);
        var made = {
            bytes: subject, fPort: fPort, recvTime: new DateOf(ms), variables: variables || {}
        };
        if (tags !== undefined) made.device = { id: id, tags: tags };
        if (data !== undefined) made.data = data;
        if (radio !== undefined) made.radio = radio;
        if (previous !== undefined) made.previous = previous;
        return found(made);
    }

    function tried(method, object) {
        try {
            return apply(method, object, []);
        } catch (e) {
            if (e instanceof TypeOf) return Missing;
            throw e;
        }
    }
    // What is neither a plain object nor an array: `[value]` to take instead, a reason to leave it out, or undefined.
    function exotic(object) {
        if (typeof object === 'bigint') {
            if (object >= -SAFE && object <= SAFE) return [NumberOf(object)];
            return object < WIDE && object > -WIDE ? [StringOf(object)] : 'is a number of more than 256 bits';
        }
        var time = tried(getTime, object), i;
        if (time !== Missing) return time === time ? [apply(toISO, object, [])] : 'is an invalid date';
        if (isView(object)) {
            var length = tried(typedLength, object), list = [];
            if (length === Missing) return 'is a DataView';
            if (length > 65536) return 'has more than 65536 elements';
            for (i = 0; i < length; i++) list[i] = object[i];
            return [list];
        }
        if (tried(mapSize, object) !== Missing || tried(setSize, object) !== Missing) return 'is a Map or a Set';
        for (i = 0; i < boxed.length; i++) {
            var value = tried(boxed[i], object);
            if (value !== Missing) return [value];
        }
    }

    return [invoke, exotic, finish, String.prototype.toWellFormed, OP, MISSING, guard, remember, changed, entries];
})()
