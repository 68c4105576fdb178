// Runs once in every context that is kept, after the prelude and before it freezes the built-ins: wraps those whose
// own loops do not look at the clock, so that a call on its caller's thread cannot hang in one. Every such call is
// charged with the length of what it works on. A call that has spent too much, or comes to a built-in that cannot be
// measured, is thrown out when it runs on its caller's thread; on a thread of the host it goes on, and is remembered.
(function () {
    'use strict';
    var g = globalThis, BUDGET = 65536;
    var getDesc = Reflect.getOwnPropertyDescriptor, define = Reflect.defineProperty, ownKeys = Reflect.ownKeys,
        defineOne = Object.defineProperty, defineAll = Object.defineProperties, apply = Reflect.apply, construct = Reflect.construct,
        getProto = Reflect.getPrototypeOf, setProto = Reflect.setPrototypeOf, isArray = Array.isArray,
        isView = ArrayBuffer.isView, Range = RangeError,
        Typed = getProto(Uint8Array), typedLength = getDesc(Typed.prototype, 'length').get,
        bufferLength = getDesc(ArrayBuffer.prototype, 'byteLength').get,
        flagsOf = getDesc(RegExp.prototype, 'global').get, RegExpProto = RegExp.prototype, ArrayProto = Array.prototype,
        spreadable = Symbol.isConcatSpreadable;
    var left = Infinity, here = false, away = false, touched = false;

    function leave() {
        away = true;
        if (here) {
            left = -1;
            throw new Range('too much for the thread of the caller');
        }
        left = Infinity;
    }
    // Not `< 0`: what cannot be measured may be NaN.
    function spend(cost) {
        if (!((left -= cost) >= 0)) leave();
    }
    function begin(isHere) {
        here = isHere;
        left = BUDGET;
        away = touched = false;
    }
    // 1: it may have put what is not enumerable into the global object. 2: it is not for its caller's thread.
    function used() {
        return (touched ? 1 : 0) | (away ? 2 : 0);
    }

    // Lengths that no code of the script can change before the built-in reads them; Infinity for all others.
    function typed(view) {
        try { return apply(typedLength, view, []); } catch (e) { return Infinity; }
    }
    function list(object) {
        if (isArray(object)) return object.length;
        if (typeof object === 'string') return object.length;
        if ((typeof object !== 'object' && typeof object !== 'function') || object === null) return 1;
        var desc = getDesc(object, 'length');
        if (desc) return typeof desc.value === 'number' ? desc.value : Infinity;
        return isView(object) ? typed(object) : Infinity;
    }
    function text(value) {
        if (typeof value === 'string') return value.length;
        return (typeof value === 'object' && value !== null) || typeof value === 'function' ? Infinity : 32;
    }
    function isRegExp(value) {
        if (typeof value !== 'object' || value === null || value === RegExpProto) return false;
        try { apply(flagsOf, value, []); return true; } catch (e) { return false; }
    }

    function pretend(wrapper, name, length) {
        define(wrapper, 'name', { value: name });
        define(wrapper, 'length', { value: length });
        return wrapper;
    }
    // `cost` is asked with the receiver and the arguments.
    function meter(object, names, cost) {
        for (var i = 0; i < names.length; i++) one(object, names[i], cost);
    }
    function one(object, key, cost) {
        var desc = getDesc(object, key);
        if (!desc) return;
        var original = desc.value;
        var wrapper = {
            method(...args) {
                spend(cost(this, args));
                return apply(original, this, args);
            }
        }.method;
        define(object, key, { value: pretend(wrapper, original.name, original.length) });
    }
    function meterConstructor(name, cost) {
        var C = g[name];
        if (!C) return;
        var W = function (...args) {
            spend(cost(args));
            return new.target === undefined ? apply(C, this, args) : construct(C, args, new.target);
        };
        ownKeys(C).forEach(function (key) {
            if (key !== 'prototype') define(W, key, getDesc(C, key));
        });
        define(W, 'prototype', { value: C.prototype, writable: false });
        setProto(W, getProto(C));
        define(C.prototype, 'constructor', { value: W });
        define(g, name, { value: W });
    }

    function always() { return Infinity; }
    // Its properties may be as many as there is memory for; those of texts and lists need none.
    function properties(self, args) {
        var sum = 256;
        for (var i = 0; i < args.length; i++) {
            var of = args[i];
            if (typeof of === 'string' || isArray(of)) sum += 2 * of.length;
            else if (isView(of)) sum += 2 * typed(of);
        }
        return sum;
    }
    function length(self) { return 1 + list(self); }

    meter(ArrayProto, ['slice', 'indexOf', 'lastIndexOf', 'includes', 'fill', 'reverse', 'toReversed', 'copyWithin',
        'with'], length);
    meter(ArrayProto, ['splice', 'toSpliced', 'unshift'], function (self, args) {
        return 1 + list(self) + args.length;
    });
    meter(ArrayProto, ['shift'], function (self) { return 1 + list(self) / 8; });
    meter(ArrayProto, ['join', 'toLocaleString'], function (self, args) {
        return 4 * list(self) + text(args[0]);
    });
    meter(ArrayProto, ['sort', 'toSorted'], function (self) { return 16 * list(self); });
    meter(ArrayProto, ['flat', 'flatMap'], always);
    // A getter of an element can make the next list longer, so on the caller's thread the copying is done here, where
    // the clock is looked at.
    var concat = ArrayProto.concat;
    function plain(object) {
        return isArray(object) && getProto(object) === ArrayProto && !getDesc(object, 'constructor')
            && !getDesc(object, spreadable);
    }
    function append(to, from) {
        var at = to.length;
        var spread = typeof from === 'object' && from !== null ? from[spreadable] : false;
        if (!(spread === undefined ? isArray(from) : spread)) {
            to[at] = from;
            return;
        }
        if (!plain(from)) leave();
        var end = from.length;
        spend(end);
        for (var i = 0; i < end; i++) if (i in from) to[at + i] = from[i];
        to.length = at + end;
    }
    define(ArrayProto, 'concat', {
        value: pretend({
            concat(...args) {
                var i;
                if (!here) {
                    for (i = 0; i < args.length; i++) if (isArray(args[i])) spend(args[i].length);
                    return apply(concat, this, args);
                }
                if (!plain(this)) leave();
                var made = [];
                append(made, this);
                for (i = 0; i < args.length; i++) append(made, args[i]);
                return made;
            }
        }.concat, 'concat', 1)
    });
    function source(self, args) {
        return 4 * (isArray(args[0]) || isView(args[0]) ? list(args[0]) : typeof args[0] === 'string' ? text(args[0])
            : Infinity);
    }
    meter(Array, ['from'], source);

    meter(Typed, ['from'], source);
    meter(Typed.prototype, ['indexOf', 'lastIndexOf', 'includes', 'reverse', 'toReversed', 'copyWithin', 'with', 'fill',
        'slice'], function (self) { return 1 + typed(self); });
    meter(Typed.prototype, ['join', 'toLocaleString'], function (self, args) { return 4 * typed(self) + text(args[0]); });
    meter(Typed.prototype, ['sort', 'toSorted'], function (self) { return 16 * typed(self); });
    meter(Typed.prototype, ['set'], function (self, args) { return 1 + list(args[0]); });
    meter(Uint8Array.prototype, ['toBase64', 'toHex'], function (self) { return 1 + typed(self); });
    meter(Uint8Array.prototype, ['setFromBase64', 'setFromHex'], function (self, args) { return text(args[0]); });
    meter(Uint8Array, ['fromBase64', 'fromHex'], function (self, args) { return text(args[0]); });
    ['Int8Array', 'Uint8Array', 'Uint8ClampedArray', 'Int16Array', 'Uint16Array', 'Int32Array', 'Uint32Array',
        'Float32Array', 'Float64Array'].forEach(function (name) {
        meterConstructor(name, function (args) {
            var from = args[0];
            if (typeof from !== 'object' || from === null) return 1 + (typeof from === 'number' ? from / 8 : 0);
            if (isArray(from)) return 2 * from.length;
            if (isView(from)) return 1 + typed(from);
            try { apply(bufferLength, from, []); return 1; } catch (e) { return Infinity; }
        });
    });

    // Whole numbers without bound: one multiplication can take longer than anything else here.
    ['BigInt', 'BigInt64Array', 'BigUint64Array'].forEach(function (name) { meterConstructor(name, always); });
    meter(BigInt, ['asIntN', 'asUintN'], always);
    meter(BigInt.prototype, ['toString'], always);
    meter(DataView.prototype, ['getBigInt64', 'getBigUint64', 'setBigInt64', 'setBigUint64'], always);

    // What is sought is compared at every place.
    function sought(self, args) {
        var size = text(self);
        return 1 + size + size * text(args[0]) / 8;
    }
    function pattern(self, args) {
        return isRegExp(args[0]) ? text(self) : sought(self, args) * 4;
    }
    // A text as a pattern would be compiled.
    function compiled(self, args) {
        return isRegExp(args[0]) ? text(self) : Infinity;
    }
    var S = String.prototype;
    meter(S, ['indexOf', 'lastIndexOf', 'includes'], sought);
    meter(S, ['startsWith', 'endsWith'], function (self, args) { return 1 + text(self) / 64 + text(args[0]); });
    meter(S, ['split', 'replace', 'replaceAll'], pattern);
    meter(S, ['match', 'search'], compiled);
    meter(S, ['toLowerCase', 'toUpperCase', 'toLocaleLowerCase', 'toLocaleUpperCase', 'isWellFormed', 'toWellFormed'],
        function (self) { return 2 * text(self); });
    meter(S, ['repeat'], function (self, args) {
        return 1 + text(self) * (typeof args[0] === 'number' ? args[0] : Infinity);
    });
    meter(S, ['padStart', 'padEnd'], function (self, args) {
        return text(self) + (typeof args[0] === 'number' ? args[0] : Infinity);
    });
    meter(S, ['normalize', 'localeCompare'], always);
    meter(String, ['raw'], always);
    meter(g, ['decodeURI', 'decodeURIComponent', 'encodeURI', 'encodeURIComponent', 'escape', 'unescape'],
        function (self, args) { return 2 * text(args[0]); });
    meter(JSON, ['parse'], function (self, args) { return 4 * text(args[0]); });
    meter(JSON, ['stringify', 'rawJSON'], always);

    // The matcher looks at the clock after ten thousand steps of one match.
    meter(RegExpProto, ['exec', 'test', Symbol.match, Symbol.replace, Symbol.search, Symbol.split],
        function (self, args) { return isRegExp(self) ? 256 + text(args[0]) : Infinity; });
    meter(RegExpProto, ['compile', 'toString'], always);
    meter(RegExp, ['escape'], always);
    meterConstructor('RegExp', function (args) { return isRegExp(args[0]) ? 4096 : Infinity; });

    meter(Object, ['keys', 'values', 'entries', 'assign', 'getOwnPropertyNames', 'getOwnPropertySymbols',
        'getOwnPropertyDescriptors', 'freeze', 'seal', 'isFrozen', 'isSealed'], properties);
    meter(Reflect, ['ownKeys'], properties);
    meter(Object, ['create'], function (self, args) { return args.length > 1 ? properties(self, args) : 1; });
    meter(Object, ['fromEntries'], function (self, args) { return 256 + 4 * (isArray(args[0]) ? args[0].length : Infinity); });
    meter(Object, ['groupBy'], always);
    meter(Map, ['groupBy'], always);
    meter(Math, ['sumPrecise'], always);

    // At most 65,534 arguments.
    function count(object) {
        return isArray(object) ? 1 + object.length : 512;
    }
    meter(Reflect, ['apply'], function (self, args) { return count(args[2]); });
    meter(Reflect, ['construct'], function (self, args) { return count(args[1]); });
    define(Function.prototype, 'apply', {
        value: pretend({
            apply(self, given) {
                if (given === undefined || given === null) return apply(this, self, []);
                spend(count(given));
                return apply(this, self, given);
            }
        }.apply, 'apply', 2)
    });

    // Properties that are made in any other way are enumerable.
    define(Object, 'defineProperty', {
        value: pretend({
            defineProperty(object, key, desc) {
                if (object === g) touched = true;
                return defineOne(object, key, desc);
            }
        }.defineProperty, 'defineProperty', 3)
    });
    define(Object, 'defineProperties', {
        value: pretend({
            defineProperties(object, all) {
                spend(properties(this, [all]));
                if (object === g) touched = true;
                return defineAll(object, all);
            }
        }.defineProperties, 'defineProperties', 2)
    });
    define(Reflect, 'defineProperty', {
        value: pretend({
            defineProperty(object, key, desc) {
                if (object === g) touched = true;
                return define(object, key, desc);
            }
        }.defineProperty, 'defineProperty', 3)
    });

    return [begin, used];
})()
