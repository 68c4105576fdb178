//! What runs in a context: the prelude, the guards, the compiled script, and the handles on them. Not here: when
//! ([`super::realm`]).

use rquickjs::context::EvalOptions;
use rquickjs::{Ctx, Error, Function as JsFunction, Value};

use super::error::{Fault, ScriptError};
use super::position::{self, FILE};
use super::script::Inner;

const PRELUDE: &str = include_str!("prelude.js");
const GUARDS: &str = include_str!("guards.js");
/// On the script's first line, so that line numbers stay; columns are corrected by its length. The outer function has
/// the names that only some scripts get, so that the script may declare them itself.
const PREFIX: &str = "(function(module,exports){return (function(){";
/// The same for a plain script, which needs no function of its own for every call.
const PLAIN_PREFIX: &str = "(function(){";
/// Parses the whole script, declares its names, and stops before its first statement.
const PARSE_ONLY: &str = "throw 0;";

/// What the prelude returned, by its order, and the compiled script.
pub(super) struct Handles<'a, 'js>(pub(super) &'a [Value<'js>]);

/// The order of the prelude's last line; the script's factory comes after them.
impl<'a, 'js> Handles<'a, 'js> {
    pub(super) fn invoke(&self) -> &'a JsFunction<'js> {
        self.function(0)
    }
    pub(super) fn exotic(&self) -> &'a JsFunction<'js> {
        self.function(1)
    }
    pub(super) fn finish(&self) -> &'a JsFunction<'js> {
        self.function(2)
    }
    pub(super) fn well_formed(&self) -> &'a JsFunction<'js> {
        self.function(3)
    }
    pub(super) fn object_prototype(&self) -> &'a Value<'js> {
        &self.0[4]
    }
    pub(super) fn missing(&self) -> &'a Value<'js> {
        &self.0[5]
    }
    pub(super) fn guard(&self) -> &'a JsFunction<'js> {
        self.function(6)
    }
    pub(super) fn remember(&self) -> &'a JsFunction<'js> {
        self.function(7)
    }
    pub(super) fn changed(&self) -> &'a JsFunction<'js> {
        self.function(8)
    }
    pub(super) fn entries(&self) -> &'a JsFunction<'js> {
        self.function(9)
    }
    pub(super) fn factory(&self) -> &'a Value<'js> {
        &self.0[10]
    }

    #[expect(clippy::expect_used, reason = "the prelude is ours, and `open` has counted what it returned")]
    fn function(&self, index: usize) -> &'a JsFunction<'js> {
        self.0[index].as_function().expect("the prelude returns a function here")
    }
}

/// Runs the prelude and compiles the script into a function that runs its top level and returns what has these names,
/// in their order.
pub(super) fn open<'js>(
    ctx: &Ctx<'js>,
    script: &Inner,
    names: impl Iterator<Item = &'static str>,
) -> rquickjs::Result<Vec<Value<'js>>> {
    let mut values: Vec<Value<'js>> = evaluate(ctx, PRELUDE.to_owned(), "<host>")?;
    debug_assert_eq!(values.len(), 10);
    let mut source = String::with_capacity(PREFIX.len() + script.source.len() + 512);
    source.push_str(prefix_text(script));
    source.push_str(&script.source);
    source.push_str("\n;return[");
    for name in names {
        source.push_str(&format!("typeof {name}==='function'?{name}:undefined,"));
    }
    source.push_str(if script.is_plain { "]})" } else { "]}).call(this)})" });
    values.push(evaluate(ctx, source, FILE)?);
    Ok(values)
}

/// Meters and freezes the built-ins.
pub(super) fn guard<'js>(ctx: &Ctx<'js>, handles: &Handles<'_, 'js>) -> rquickjs::Result<()> {
    let guards: Value<'js> = evaluate(ctx, GUARDS.to_owned(), "<guards>")?;
    handles.guard().call((guards,))
}

/// How many characters of the script's first line are not its own.
pub(super) fn prefix(script: &Inner) -> u32 {
    columns(prefix_text(script))
}

/// Parses the script by itself, as nothing of it may close the function around it.
pub(super) fn parse(ctx: &Ctx<'_>, script: &Inner) -> Result<(), ScriptError> {
    let result: rquickjs::Result<()> = evaluate(ctx, format!("{PARSE_ONLY}{}", script.source), FILE);
    if matches!(result, Err(Error::InvalidString(_))) {
        return Err(ScriptError::Syntax(Fault::new(
            &script.name,
            "SyntaxError: the source contains a zero character",
        )));
    }
    let thrown = ctx.catch();
    if thrown.as_int() == Some(0) {
        return Ok(());
    }
    ctx.throw(thrown);
    Err(match position::caught(ctx, &script.name, columns(PARSE_ONLY), || false) {
        ScriptError::Thrown(fault) => ScriptError::Syntax(fault),
        other => other,
    })
}

fn evaluate<'js, T: rquickjs::FromJs<'js>>(
    ctx: &Ctx<'js>,
    source: String,
    file: &str,
) -> rquickjs::Result<T> {
    let mut options = EvalOptions::default();
    options.strict = false;
    options.filename = Some(file.to_owned());
    ctx.eval_with_options(source, options)
}

fn prefix_text(script: &Inner) -> &'static str {
    if script.is_plain { PLAIN_PREFIX } else { PREFIX }
}

fn columns(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(0)
}
