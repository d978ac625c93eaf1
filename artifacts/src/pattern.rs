//! What is looked for in the lines of an output: a literal or a regular expression over bytes.
//!
//! * in: a literal's bytes or a regular expression's text
//! * out: a [`Pattern`], or a [`PatternError`] that says what to change
//! * keeps: no match holds `\n` or `\r`, and none is empty. So a search through many lines at once finds what a
//!   search through each of them finds

use crate::CARRY_BYTES;

use ostler_messages::PatternSource;
use regex_automata::{meta, util::captures::GroupInfo};
use regex_syntax::{
    ast::{
        self, AssertionKind, Ast, ClassAscii, ClassAsciiKind, ClassPerl, ClassPerlKind, ClassSet,
        ClassSetItem, Flag, Flags, FlagsItem, FlagsItemKind, GroupKind,
    },
    hir::{
        self, Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Repetition,
    },
};
use std::{fmt, sync::Arc};

/// Longest literal or regular expression.
pub const PATTERN_MAX_BYTES: usize = 4 << 10;
// A literal is found across every cut of a long line.
const _: () = assert!(PATTERN_MAX_BYTES <= CARRY_BYTES);
/// Most groups of a regular expression. Each is copied into every answer, with up to 4 KiB of text.
pub const PATTERN_MAX_GROUPS: usize = 64;
/// Most classes by a property (`\p{L}`): one of them has hundreds of ranges, and (?i) looks at each.
pub const PATTERN_MAX_PROPERTIES: usize = 32;
/// Most memory of a compiled regular expression. In the worst case every state is looked at for each byte, so this
/// bounds the time of a search as well: to some 100 KB/s, which takes a pattern and a text that are made for it.
/// `.{0,500}` and 1,000 letters of any case are within it, `(a{1000}){1000}` is not.
pub const PATTERN_MAX_COMPILED_BYTES: usize = 128 << 10;
/// Memory of the states that a search makes as it goes, for each direction and each thread that searches at the
/// same time. Log lines need some 10 KiB; when it is full they are made again, and then it is slower.
const STATES_MAX_BYTES: usize = 512 << 10;
/// Deepest nesting, of groups, alternatives and sequences: reading each takes a frame of the stack.
const NESTING_MAX: u32 = 100;

/// What to look for in a line. A clone is cheap, and searches on several threads may share one.
#[derive(Clone)]
pub struct Pattern {
    inner: Arc<Inner>,
}
struct Inner {
    shown: String,
    regex: meta::Regex,
}

impl Pattern {
    /// These bytes, as they are.
    ///
    /// # Errors
    /// [`PatternError`]: no bytes, more than [`PATTERN_MAX_BYTES`], or a line end among them.
    pub fn literal(bytes: impl AsRef<[u8]>) -> Result<Pattern, PatternError> {
        let bytes = bytes.as_ref();
        check_length("literal", bytes.len())?;
        let hir = within_line(Hir::literal(bytes));
        let shown = format!("literal {:?}", String::from_utf8_lossy(bytes));
        // Its length is limit enough: no text makes it slow.
        compile("literal", &hir, shown, None)
    }

    /// A regular expression in the syntax of Rust's `regex` crate, which is Perl's without look-around and
    /// back-references.
    ///
    /// * It is matched within a line: `^`, `$`, `\A` and `\z` are the line's ends, and nothing matches `\n` or
    ///   `\r`, not even `[^x]` or `\s`. The first match from the left counts, and of alternatives the first
    ///   (`ab|abc` finds `ab`).
    /// * `\d`, `\w`, `\s` and `\b` are about ASCII; `\p{L}` is any letter.
    /// * Letters beyond ASCII can be written as they are, also in classes, and match their UTF-8 bytes. `.`, and a
    ///   class that holds everything beyond ASCII, as `[^"]` does, is one character. Output that is not UTF-8 does
    ///   not stop them: a byte that is no character passes as one. `(?-u:\xff)` is a single byte.
    /// * `(?i)` ignores case, beyond ASCII too.
    ///
    /// # Errors
    /// [`PatternError`] for one that is no regular expression, that could match nothing at all (`x*`), that can't
    /// match within a line, or that is over a limit.
    pub fn regex(text: &str) -> Result<Pattern, PatternError> {
        check_length("regex", text.len())?;
        let parsed = ast::parse::ParserBuilder::new().nest_limit(NESTING_MAX).build().parse(text);
        let mut ast = parsed.map_err(|error| invalid(text, error.kind(), error.span()))?;
        let properties = bind(&mut ast);
        at_most("classes by a property", properties, PATTERN_MAX_PROPERTIES, "write ranges, as [a-z]")?;
        let translated = hir::translate::TranslatorBuilder::new().utf8(false).build().translate(text, &ast);
        let hir = translated.map_err(|error| invalid(text, error.kind(), error.span()))?;
        let groups = hir.properties().explicit_captures_len();
        at_most("groups", groups, PATTERN_MAX_GROUPS, "write (?:…) where the text is not needed")?;
        compile("regex", &within_line(hir), format!("regex {text:?}"), Some(PATTERN_MAX_COMPILED_BYTES))
    }

    pub(crate) fn compiled(&self) -> &meta::Regex {
        &self.inner.regex
    }
    pub(crate) fn groups(&self) -> &GroupInfo {
        self.inner.regex.group_info()
    }
}
impl TryFrom<PatternSource> for Pattern {
    type Error = PatternError;
    fn try_from(source: PatternSource) -> Result<Pattern, PatternError> {
        match source {
            PatternSource::Literal(text) => Pattern::literal(text),
            PatternSource::Regex(text) => Pattern::regex(&text),
        }
    }
}
impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.inner.shown)
    }
}

/// Why a pattern was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is nothing to look for.
    #[error("pattern.{field}: it is empty; give the text to look for")]
    Empty {
        /// `literal` or `regex`.
        field: &'static str,
    },
    /// It would hold in every line.
    #[error("pattern.regex: it also matches no text at all, as `x*` does; ask for at least one character")]
    MatchesEmpty,
    /// It would hold in no line.
    #[error(
        "pattern.{field}: it cannot match within a line, which has no \\n and no \\r in it; for a line's end use a \
         regex with `$`, and leave out what lies on another line"
    )]
    NeverMatches {
        /// `literal` or `regex`.
        field: &'static str,
    },
    /// Over [`PATTERN_MAX_BYTES`].
    #[error("pattern.{field}: {bytes} bytes are over the limit of {limit}; look for a part of it")]
    TooLong {
        /// `literal` or `regex`.
        field: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Over [`PATTERN_MAX_GROUPS`] or [`PATTERN_MAX_PROPERTIES`].
    #[error("pattern.regex: {count} {what} are over the limit of {limit}; {advice}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many it has.
        count: usize,
        /// The limit.
        limit: usize,
        /// What to do.
        advice: &'static str,
    },
    /// Over [`PATTERN_MAX_COMPILED_BYTES`].
    #[error(
        "pattern.regex: compiled it takes more than {limit} bytes, and a search would be slow; repeat less ({{m,n}}), \
         use fewer and smaller classes, or a literal"
    )]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// No regular expression, or one that asks for what is not to be had.
    #[error("pattern.regex: {message} ({position}); correct it, or use a literal")]
    Invalid {
        /// What is wrong.
        message: String,
        /// Where: the column, counted in characters from 1, and what stands there.
        position: String,
    },
}

fn check_length(field: &'static str, bytes: usize) -> Result<(), PatternError> {
    match bytes {
        0 => Err(PatternError::Empty { field }),
        PATTERN_MAX_BYTES.. if bytes > PATTERN_MAX_BYTES => {
            Err(PatternError::TooLong { field, bytes, limit: PATTERN_MAX_BYTES })
        }
        _ => Ok(()),
    }
}

fn at_most(what: &'static str, count: usize, limit: usize, advice: &'static str) -> Result<(), PatternError> {
    if count > limit { Err(PatternError::TooMany { what, count, limit, advice }) } else { Ok(()) }
}

fn invalid(text: &str, kind: &dyn fmt::Display, span: &ast::Span) -> PatternError {
    let there: String = text.get(span.start.offset..).unwrap_or_default().chars().take(20).collect();
    let column = text.get(..span.start.offset).map_or(0, |before| before.chars().count()) + 1;
    let position = match there.is_empty() {
        true => "at its end".to_owned(),
        false => format!("column {column}, at {there:?}"),
    };
    PatternError::Invalid { message: kind.to_string(), position }
}

fn compile(
    field: &'static str,
    hir: &Hir,
    shown: String,
    limit: Option<usize>,
) -> Result<Pattern, PatternError> {
    match shortest(hir) {
        None => return Err(PatternError::NeverMatches { field }),
        Some(0) => return Err(PatternError::MatchesEmpty),
        Some(_) => {}
    }
    let config = meta::Config::new()
        .utf8_empty(false)
        .nfa_size_limit(limit)
        .onepass_size_limit(Some(PATTERN_MAX_COMPILED_BYTES))
        .hybrid_cache_capacity(STATES_MAX_BYTES);
    match meta::Builder::new().configure(config).build_from_hir(hir) {
        Ok(regex) => Ok(Pattern { inner: Arc::new(Inner { shown, regex }) }),
        // Of the errors that are left only the size limit depends on the pattern.
        Err(_) => Err(PatternError::TooLarge { limit: PATTERN_MAX_COMPILED_BYTES }),
    }
}

/// Binds what stands there to a line and to ASCII: `\d`, `\s` and `\w` of Unicode are large, and nobody means them.
/// Counts the classes by a property.
fn bind(ast: &mut Ast) -> usize {
    match ast {
        Ast::ClassPerl(perl) => {
            let span = perl.span;
            let kind = ClassSet::Item(ClassSetItem::Ascii(ascii_class(perl)));
            *ast = Ast::class_bracketed(ast::ClassBracketed { span, negated: false, kind });
            0
        }
        Ast::Assertion(assertion) => {
            *ast = bound(assertion);
            0
        }
        Ast::ClassUnicode(_) => 1,
        Ast::ClassBracketed(class) => ascii_set(&mut class.kind),
        Ast::Repetition(repetition) => bind(&mut repetition.ast),
        Ast::Group(group) => bind(&mut group.ast),
        Ast::Alternation(alternation) => alternation.asts.iter_mut().map(bind).sum(),
        Ast::Concat(concat) => concat.asts.iter_mut().map(bind).sum(),
        Ast::Empty(_) | Ast::Flags(_) | Ast::Literal(_) | Ast::Dot(_) => 0,
    }
}
fn ascii_set(set: &mut ClassSet) -> usize {
    match set {
        ClassSet::Item(item) => ascii_item(item),
        ClassSet::BinaryOp(op) => ascii_set(&mut op.lhs) + ascii_set(&mut op.rhs),
    }
}
fn ascii_item(item: &mut ClassSetItem) -> usize {
    match item {
        ClassSetItem::Perl(perl) => {
            *item = ClassSetItem::Ascii(ascii_class(perl));
            0
        }
        ClassSetItem::Unicode(_) => 1,
        ClassSetItem::Bracketed(class) => ascii_set(&mut class.kind),
        ClassSetItem::Union(union) => union.items.iter_mut().map(ascii_item).sum(),
        ClassSetItem::Empty(_)
        | ClassSetItem::Literal(_)
        | ClassSetItem::Range(_)
        | ClassSetItem::Ascii(_) => 0,
    }
}
fn ascii_class(perl: &ClassPerl) -> ClassAscii {
    let kind = match perl.kind {
        ClassPerlKind::Digit => ClassAsciiKind::Digit,
        ClassPerlKind::Space => ClassAsciiKind::Space,
        ClassPerlKind::Word => ClassAsciiKind::Word,
    };
    ClassAscii { span: perl.span, kind, negated: perl.negated }
}

/// The same anchor for the ends of a line, whatever flags stand before it: `(?mR-u:^)`.
fn bound(assertion: &ast::Assertion) -> Ast {
    let ast::Assertion { span, kind } = assertion.clone();
    let kind = match kind {
        AssertionKind::StartText => AssertionKind::StartLine,
        AssertionKind::EndText => AssertionKind::EndLine,
        kind => kind,
    };
    let items = [
        FlagsItemKind::Flag(Flag::MultiLine),
        FlagsItemKind::Flag(Flag::CRLF),
        FlagsItemKind::Negation,
        FlagsItemKind::Flag(Flag::Unicode),
    ];
    let flags = Flags { span, items: items.map(|kind| FlagsItem { span, kind }).into() };
    let ast = Box::new(Ast::assertion(ast::Assertion { span, kind }));
    Ast::group(ast::Group { span, kind: GroupKind::NonCapturing(flags), ast })
}

/// The same expression without line ends.
fn within_line(hir: Hir) -> Hir {
    if hir.properties().maximum_len() == Some(0) {
        return hir;
    }
    match hir.into_kind() {
        HirKind::Literal(literal) if memchr::memchr2(b'\n', b'\r', &literal.0).is_some() => Hir::fail(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(Class::Unicode(class)) => characters(class),
        HirKind::Class(Class::Bytes(mut class)) => {
            class.difference(&ClassBytes::new([b'\n', b'\r'].map(|end| ClassBytesRange::new(end, end))));
            Hir::class(Class::Bytes(class))
        }
        HirKind::Repetition(repetition) => {
            let sub = Box::new(within_line(*repetition.sub));
            Hir::repetition(Repetition { sub, ..repetition })
        }
        HirKind::Capture(capture) => {
            let sub = Box::new(within_line(*capture.sub));
            Hir::capture(hir::Capture { sub, ..capture })
        }
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(within_line).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.into_iter().map(within_line).collect()),
        // Anchors, and nothing at all: those are of length 0.
        _ => Hir::empty(),
    }
}

/// A class without line ends. One that holds everything beyond ASCII becomes a byte and the continuation bytes
/// behind it: a whole character where there is one, and no stop at bytes that are none.
fn characters(mut class: ClassUnicode) -> Hir {
    class.difference(&ClassUnicode::new(['\n', '\r'].map(|end| ClassUnicodeRange::new(end, end))));
    let all_beyond = |range: &ClassUnicodeRange| range.start() <= '\u{80}' && range.end() == char::MAX;
    if !class.ranges().last().is_some_and(all_beyond) {
        return Hir::class(Class::Unicode(class));
    }
    let byte = |c: char| u8::try_from(u32::from(c)).unwrap_or(u8::MAX);
    let bytes = class.iter().map(|range| ClassBytesRange::new(byte(range.start()), byte(range.end())));
    let first = Hir::class(Class::Bytes(ClassBytes::new(bytes)));
    let rest = Hir::class(Class::Bytes(ClassBytes::new([ClassBytesRange::new(0x80, 0xBF)])));
    let rest = Hir::repetition(Repetition { min: 0, max: None, greedy: true, sub: Box::new(rest) });
    Hir::concat(vec![first, rest])
}

/// 0 where it can match nothing at all, more where it can't, and None where there is no match. (Its own property
/// says None as soon as one of several alternatives has no match.)
fn shortest(hir: &Hir) -> Option<usize> {
    match hir.kind() {
        HirKind::Literal(_) | HirKind::Class(_) => hir.properties().minimum_len(),
        HirKind::Repetition(repetition) if repetition.min == 0 => Some(0),
        HirKind::Repetition(repetition) => shortest(&repetition.sub),
        HirKind::Capture(capture) => shortest(&capture.sub),
        HirKind::Concat(parts) => parts.iter().map(shortest).try_fold(0, |sum, part| Some(sum.max(part?))),
        HirKind::Alternation(parts) => parts.iter().filter_map(shortest).min(),
        // Anchors, and nothing at all.
        _ => Some(0),
    }
}
