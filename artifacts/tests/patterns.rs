//! What a pattern means, and which ones are refused.
#![allow(clippy::unwrap_used, reason = "the helpers are part of the tests")]

use ostler_artifacts::{
    PATTERN_MAX_BYTES, PATTERN_MAX_COMPILED_BYTES, PATTERN_MAX_GROUPS, PATTERN_MAX_PROPERTIES, Pattern,
    PatternError, PatternSource, Search,
};
use std::time::{Duration, Instant};

fn found(pattern: &Pattern, text: &[u8]) -> Option<String> {
    let mut search = Search::new(pattern.clone(), 0);
    let found = search.feed(text, 0).or_else(|| search.end());
    found.map(|found| found.groups[0].text.clone().unwrap())
}
fn first(regex: &str, text: &str) -> Option<String> {
    found(&Pattern::regex(regex).unwrap(), text.as_bytes())
}
fn refused(regex: &str) -> PatternError {
    Pattern::regex(regex).unwrap_err()
}

#[test]
fn classes_are_ascii_and_letters_are_characters() {
    assert_eq!(first(r"\d+", "٣ 3").as_deref(), Some("3"));
    assert_eq!(first(r"\w+", "é_a").as_deref(), Some("_a"));
    assert_eq!(first(r"[\w-]+", "é-a").as_deref(), Some("-a"));
    assert_eq!(first(r"[^\W\d]+", "é1a").as_deref(), Some("a"));
    assert_eq!(first(r"\ba", "éa").as_deref(), Some("a"), "beyond ASCII nothing is part of a word");
    assert_eq!(first("^.é.$", "aéü").as_deref(), Some("aéü"));
    assert_eq!(first("^..$", "a"), None);
    assert_eq!(first("[äö]+", "xöäx").as_deref(), Some("öä"));
    assert_eq!(first("(?i)STRAßE ÄÖ", "straße äö").as_deref(), Some("straße äö"));
    assert_eq!(first(r"\p{Lu}+", "aÄB").as_deref(), Some("ÄB"));
    assert_eq!(first("[^x]+$", "x€").as_deref(), Some("€"));
    assert_eq!(first("(.)$", "x€").as_deref(), Some("€"));
}

#[test]
fn output_that_is_no_text_does_not_stop_a_match() {
    let pattern = Pattern::regex("at .*:(\\d+)").unwrap();
    assert_eq!(found(&pattern, b"at caf\xe9:80\n").as_deref(), Some("at caf\u{fffd}:80"));
    assert!(found(&Pattern::literal(b"\xff\xfe").unwrap(), b"a\xff\xfeb").is_some());
    assert!(found(&Pattern::regex(r"(?-u:\xff)b").unwrap(), b"a\xffb").is_some());
}

#[test]
fn a_match_stays_within_its_line() {
    assert_eq!(first(r"a[^x]*", "a\nb").as_deref(), Some("a"));
    assert_eq!(first(r"a\s*b", "a\r\nb a b").as_deref(), Some("a b"));
    assert_eq!(first(r"(?s)a.*b", "a\rb\nab").as_deref(), Some("ab"));
    assert_eq!(first("^b$", "a\rb\r\nc").as_deref(), Some("b"));
    assert_eq!(first(r"\Ab\z", "a\nb\nc").as_deref(), Some("b"));
}

#[test]
fn what_can_never_hold_or_always_does_is_refused() {
    assert_eq!(refused(""), PatternError::Empty { field: "regex" });
    assert_eq!(Pattern::literal("").unwrap_err(), PatternError::Empty { field: "literal" });
    for always in ["x*", "^$", "a|", r"\b", "(a?)(b*)", r"(?:a\n)?", "(?i)", "a{0}"] {
        assert_eq!(refused(always), PatternError::MatchesEmpty, "{always}");
    }
    for never in ["done\n", r"a\r?\nb", r"(a\n|\r)b", "[a&&b]"] {
        assert_eq!(refused(never), PatternError::NeverMatches { field: "regex" }, "{never:?}");
    }
    assert_eq!(Pattern::literal("a\n").unwrap_err(), PatternError::NeverMatches { field: "literal" });
    assert!(Pattern::regex(r"done\r?").is_ok() && Pattern::regex("a|\n").is_ok());
}

#[test]
fn a_refusal_says_where_and_what_to_do() {
    let shown = |regex: &str| refused(regex).to_string();
    assert_eq!(
        shown("é(ab"),
        "pattern.regex: unclosed group (column 2, at \"(ab\"); correct it, or use a literal"
    );
    assert_eq!(
        shown("a(?=b)"),
        "pattern.regex: look-around, including look-ahead and look-behind, is not supported (column 2, at \"(?=b)\"); \
         correct it, or use a literal"
    );
    assert!(shown(r"\p{Nope}").contains("column 1"), "{}", shown(r"\p{Nope}"));
    let deep = format!("{}a{}", "(?:".repeat(200), ")".repeat(200));
    assert!(shown(&deep).contains("nest"), "{}", shown(&deep));
    let too_many = |regex: &str| match refused(regex) {
        PatternError::TooMany { count, limit, .. } => (count, limit),
        other => panic!("{other}"),
    };
    assert_eq!(too_many(&"(a)".repeat(65)), (65, PATTERN_MAX_GROUPS));
    assert_eq!(too_many(&format!("(?i)[{}]", r"\pL[^\PN]".repeat(400))), (800, PATTERN_MAX_PROPERTIES));
    let long = "x".repeat(PATTERN_MAX_BYTES + 1);
    let limit = PATTERN_MAX_BYTES;
    assert_eq!(refused(&long), PatternError::TooLong { field: "regex", bytes: limit + 1, limit });
    assert_eq!(
        Pattern::literal(&long).unwrap_err(),
        PatternError::TooLong { field: "literal", bytes: limit + 1, limit }
    );
    assert!(Pattern::literal(&long[1..]).is_ok() && Pattern::regex(&long[..2_000]).is_ok());
}

/// Each of them is small as text, and would take gigabytes or minutes.
#[test]
fn a_bomb_is_refused_before_it_costs_anything() {
    let bombs = [
        "(a{1000}){1000}".to_owned(),
        "((((a{100}){100}){100}){100}){100}".to_owned(),
        r"[\w\s]{4294967295}".to_owned(),
        r"(?i)\p{L}{1000}".to_owned(),
        format!("(?i){}", r"[^\p{L}]".repeat(32)),
        format!("(?i){}", "[^a-xä-ü]".repeat(300)),
        format!("a{}", "(b|c".repeat(15) + &"){1000}".repeat(15)),
        r"(?:\n{1000}|a){100000000}".to_owned(),
        r"(?:a|(?:\b){1000}c){1000000}".to_owned(),
    ];
    for bomb in bombs {
        let start = Instant::now();
        let refusal = refused(&bomb);
        let took = start.elapsed();
        assert_eq!(refusal, PatternError::TooLarge { limit: PATTERN_MAX_COMPILED_BYTES }, "{bomb:.60}");
        // Optimised it is some milliseconds; without a limit, minutes.
        assert!(took < Duration::from_secs(2), "{bomb:.60} took {took:?}");
    }
    for empty in ["(){4294967295}", "(?:(?:){1000}){1000000000}", "(((a*)*)*)*"] {
        assert_eq!(refused(empty), PatternError::MatchesEmpty, "{empty}");
    }
}

#[test]
fn usual_patterns_are_within_the_limits() {
    for regex in [
        ".{0,500}x",
        r"[^\n]{1,200}:\d{1,5}",
        r"(?i)(error|warning|fatal|panicked|exception|traceback|segmentation fault)\b.*",
        r"\p{L}+",
        r"(?P<file>[\w./-]+\.(?:rs|py|ts|tsx|js|go|java|c|cc|cpp|h|hpp)):(?P<line>\d+)(?::(?P<column>\d+))?: (?P<text>.*)",
    ] {
        assert!(Pattern::regex(regex).is_ok(), "{regex}: {:?}", Pattern::regex(regex));
    }
    assert!(Pattern::regex(&format!("(?i){}", "x".repeat(1_000))).is_ok());
}

#[test]
fn a_pattern_is_written_as_one_of_two() {
    let parse = |json: &str| serde_json::from_str::<PatternSource>(json);
    assert_eq!(parse(r#"{"literal": "a.b"}"#).unwrap(), PatternSource::Literal("a.b".into()));
    let literal = Pattern::try_from(parse(r#"{"literal": "a.b"}"#).unwrap()).unwrap();
    assert_eq!((found(&literal, b"axb"), found(&literal, b"a.b").as_deref()), (None, Some("a.b")));
    assert_eq!(format!("{literal:?}"), r#"Pattern(literal "a.b")"#);
    assert!(Pattern::try_from(parse(r#"{"regex": "a("}"#).unwrap()).is_err());
    for wrong in [r#"{"glob": "a"}"#, r#"{"regex": "a", "literal": "a"}"#, r#""a""#, "{}"] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}
