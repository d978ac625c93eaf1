//! A story in each form for people; and what becomes of a trace that is broken.

use crate::story::Story;
use insta::assert_snapshot;
use ostler::{
    Command,
    testing::{OnTerminate, Program},
    trace::Trace,
};
use ostler_tests::{Dice, ms};

/// One command that cleans up when it is cancelled, beside one that ends by itself.
fn story() -> String {
    let cleans_up = OnTerminate::Exits { after: ms(30), says: "<b>bye</b>\n".into(), code: 4 };
    let story = Story::new()
        .program("serve", Program::new().on_terminate(cleans_up))
        .program("make", Program::new().exits_at(ms(10), 0));
    let serve = story.launch(Command::new("serve").arg("</script>; # end"));
    let make = story.launch(Command::new("make"));
    make.result().wait().unwrap();
    serve.cancel().wait().unwrap();
    story.trace()
}

fn read(text: &str) -> Trace {
    Trace::parse(text.as_bytes()).unwrap()
}

/// Without some of its lines, and cut in the middle of the last.
fn damaged() -> Trace {
    let text = story();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.splice(4..7, [r#"{"lost":3}"#]);
    let foretold = r#"{"sequence":900,"at_us":50000,"cause":2,"from":"oracle/7","to":"host","message":"Foretold","body":{"a":"\u001b[31m"}}"#;
    lines.splice(20.., [foretold, r#"{"lost":1}"#, r#"{"sequence":901,"at_"#]);
    read(&lines.join("\n"))
}

#[test]
fn as_text() {
    assert_snapshot!(read(&story()).text());
}

#[test]
fn as_text_with_gaps_an_unknown_message_and_a_half_line() {
    let trace = damaged();
    assert_eq!((trace.missing(), trace.cut_bytes), (4, 20));
    assert_snapshot!(trace.text());
}

#[test]
fn no_name_begins_a_line_of_its_own() {
    let header = story().lines().next().unwrap().to_owned();
    let actor = r#"{"sequence":1,"at_us":0,"from":"a\nb","to":"host","message":"M","body":{}}"#;
    let message = r#"{"sequence":2,"at_us":0,"from":"host","to":"host","message":"M\nN","body":{}}"#;
    let told = read(&[&*header, actor, message].join("\n")).text();
    assert_eq!(told.lines().count(), 3, "{told}");
}

#[test]
fn as_text_of_one_handle() {
    let trace = read(&story());
    let handles = trace.handles();
    assert_eq!(handles.len(), 2);
    assert_snapshot!(trace.of_handle(handles[1]).text());
}

#[test]
fn as_a_sequence_diagram() {
    assert_snapshot!(read(&story()).mermaid(200));
}

#[test]
fn as_a_sequence_diagram_that_says_what_is_left_out() {
    assert_snapshot!(damaged().mermaid(8));
}

#[test]
fn as_a_timeline() {
    assert_snapshot!(read(&story()).perfetto());
}

/// What a timeline needs to be drawn: tracks with names, slices that lie in each other, arrows with two ends, forwards.
#[test]
fn a_timeline_is_well_formed() {
    for trace in [read(&story()), damaged()] {
        let json: serde_json::Value = serde_json::from_str(&trace.perfetto()).unwrap();
        let events = json["traceEvents"].as_array().unwrap();
        let of = |kind: &str| events.iter().filter(|event| event["ph"] == kind).collect::<Vec<_>>();
        let ns = |event: &serde_json::Value, key: &str| (event[key].as_f64().unwrap() * 1e3).round() as u64;
        let tracks = of("M").iter().filter(|event| event["name"] == "thread_name").count();
        assert_eq!(tracks, trace.handles().len() + 1);
        for track in 1..=tracks {
            let mut slices: Vec<(u64, u64)> = of("X")
                .iter()
                .filter(|event| event["tid"] == track)
                .map(|event| (ns(event, "ts"), ns(event, "ts") + ns(event, "dur")))
                .collect();
            slices.sort_by_key(|(from, to)| (*from, std::cmp::Reverse(*to)));
            let mut open: Vec<u64> = Vec::new();
            for (from, to) in slices {
                open.retain(|end| *end > from);
                assert!(open.last().is_none_or(|end| *end >= to), "{from} to {to} is not within {open:?}");
                open.push(to);
            }
        }
        for end in of("f") {
            let begins: Vec<_> = of("s").into_iter().filter(|begin| begin["id"] == end["id"]).collect();
            assert!(begins.len() == 1 && ns(begins[0], "ts") < ns(end, "ts"), "{end}");
        }
        assert_eq!(of("s").len(), of("f").len());
        // An arrow binds to the message at its end.
        for arrow in [of("s"), of("f")].concat() {
            let at = |slice: &&&serde_json::Value| {
                slice["cat"] == "message" && slice["tid"] == arrow["tid"] && slice["ts"] == arrow["ts"]
            };
            assert_eq!(of("X").iter().filter(at).count(), 1, "{arrow}");
        }
    }
}

#[test]
fn a_page_holds_the_trace_as_data_only() {
    let page = read(&story()).html();
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(
        !page.contains("<b>")
            && !page.contains("//www")
            && !page.contains("http:")
            && !page.contains("https:")
    );
    let data = page.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["lanes"].as_array().unwrap().len(), 3);
    assert_eq!(data["lanes"][1]["command"], "serve '</script>; # end'");
    let phases: Vec<_> =
        data["lanes"][1]["phases"].as_array().unwrap().iter().map(|phase| &phase[0]).collect();
    assert_eq!(
        phases,
        ["starting", "running", "terminating", "draining", "sealing"]
            .map(serde_json::Value::from)
            .iter()
            .collect::<Vec<_>>()
    );
}

/// Bytes that nobody has written: each is read, or refused; and what is read has each form.
#[test]
fn no_bytes_at_all_panic() {
    let whole = story().into_bytes();
    let (mut read, mut refused) = (0, 0);
    for seed in 0..600 {
        let mut dice = Dice::new(seed);
        let mut bytes = whole.clone();
        for _ in 0..=dice.below(4) {
            if bytes.is_empty() {
                break;
            }
            let at = dice.below(bytes.len() as u64) as usize;
            match dice.below(7) {
                0 => bytes[at] = dice.below(256) as u8,
                1 => bytes.truncate(at),
                2 => drop(bytes.remove(at)),
                3 => bytes.insert(at, b"{}[]\",:\n0\\9-"[dice.below(12) as usize]),
                // Values that are larger, or of another kind, than anybody thinks.
                4 => replace_number(&mut bytes, at, b"18446744073709551615"),
                5 => replace_number(
                    &mut bytes,
                    at,
                    [b"-1".as_slice(), b"null", b"1e300", b"\"\\u202e<\"", b"{\"handle_id\":[[]]}"]
                        [dice.below(5) as usize],
                ),
                // Lines again, elsewhere.
                _ => {
                    let end = (at + dice.below(600) as usize).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    let to = dice.below(bytes.len() as u64) as usize;
                    bytes.splice(to..to, piece);
                }
            }
        }
        let Ok(trace) = Trace::parse(&*bytes) else {
            refused += 1;
            continue;
        };
        read += 1;
        let one = trace.handles().first().map(|handle| trace.of_handle(*handle));
        for trace in [Some(trace), one].into_iter().flatten() {
            let _ = (trace.text(), trace.mermaid(200));
            assert!(serde_json::from_str::<serde_json::Value>(&trace.perfetto()).is_ok(), "seed {seed}");
            assert_eq!(trace.html().matches("<script").count(), 2, "seed {seed}");
        }
    }
    assert!(read > 60 && refused > 60, "{read} read, {refused} refused");
}

fn replace_number(bytes: &mut Vec<u8>, from: usize, with: &[u8]) {
    if let Some(begin) = bytes[from..].iter().position(u8::is_ascii_digit).map(|at| from + at) {
        let end = bytes[begin..]
            .iter()
            .position(|byte| !byte.is_ascii_digit())
            .map_or(bytes.len(), |at| begin + at);
        bytes.splice(begin..end, with.iter().copied());
    }
}
