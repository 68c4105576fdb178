//! `bootstrap`: the function's process. Not here: anything else.

fn main() {}
