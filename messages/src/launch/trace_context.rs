//! Where a command belongs in a distributed trace.

use super::LaunchRequest;
use serde::{Deserialize, Serialize};

/// Longest `tracestate` that is passed on: the least that the recommendation asks of everybody
/// (<https://www.w3.org/TR/trace-context/#tracestate-limits>).
pub const TRACESTATE_MAX_BYTES: usize = 512;

/// Where a command belongs in a distributed trace: the two headers of W3C Trace Context. The command finds them in its environment, as `TRACEPARENT` and
/// `TRACESTATE`, in place of what it would have inherited; variables of these names in `env` come first.
///
/// It is no part of what a command is: a [`launch_key`](LaunchRequest::launch_key) that comes again from another place of a trace gives the same handle.
///
/// ```
/// use ostler_messages::TraceContext;
/// let came = TraceContext::new("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
/// assert_eq!(came.traceparent(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
/// assert!(TraceContext::new("00-0-0-01").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Form")]
pub struct TraceContext {
    traceparent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracestate: Option<String>,
}

/// A `traceparent` that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "traceparent: {given:?} is none; it reads 00-{{32 hex digits}}-{{16 hex digits}}-{{2 hex digits}}, in lower case, and no id is zero"
)]
pub struct NoTraceparent {
    /// Its first bytes.
    pub given: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    traceparent: String,
    #[serde(default)]
    tracestate: Option<String>,
}
impl TryFrom<Form> for TraceContext {
    type Error = NoTraceparent;
    fn try_from(form: Form) -> Result<TraceContext, NoTraceparent> {
        let context = TraceContext::new(form.traceparent)?;
        Ok(match form.tracestate {
            Some(tracestate) => context.with_tracestate(tracestate),
            None => context,
        })
    }
}

impl TraceContext {
    /// From the value of a `traceparent` header.
    ///
    /// # Errors
    /// It is none. Those of later versions are taken as they are, as far as their first four fields are as in version 00.
    pub fn new(traceparent: impl Into<String>) -> Result<TraceContext, NoTraceparent> {
        let traceparent = traceparent.into();
        match is_traceparent(&traceparent) {
            true => Ok(TraceContext { traceparent, tracestate: None }),
            false => Err(NoTraceparent { given: traceparent.chars().take(64).collect() }),
        }
    }
    /// With the value of the `tracestate` header that came along. One that is empty, longer than [`TRACESTATE_MAX_BYTES`] or not printable ASCII is left out, as
    /// the recommendation wants it: the trace goes on without.
    pub fn with_tracestate(mut self, tracestate: impl Into<String>) -> TraceContext {
        let tracestate = tracestate.into();
        let passes = (1..=TRACESTATE_MAX_BYTES).contains(&tracestate.len())
            && tracestate.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        self.tracestate = passes.then_some(tracestate);
        self
    }
    /// The value of `traceparent`.
    pub fn traceparent(&self) -> &str {
        &self.traceparent
    }
    /// The value of `tracestate`, if there is one.
    pub fn tracestate(&self) -> Option<&str> {
        self.tracestate.as_deref()
    }
    /// The variables that the command gets.
    #[doc(hidden)]
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [("TRACEPARENT", Some(self.traceparent())), ("TRACESTATE", self.tracestate())]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
    }
    /// The names of both, which are not inherited where a context is given: a state without its parent means nothing.
    #[doc(hidden)]
    pub fn names(name: &[u8]) -> bool {
        name == b"TRACEPARENT" || name == b"TRACESTATE"
    }
}

fn is_traceparent(text: &str) -> bool {
    let hex = |field: &str, digits: usize| {
        field.len() == digits && field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let id = |field: &str, digits| hex(field, digits) && field.bytes().any(|byte| byte != b'0');
    let mut fields = text.splitn(5, '-');
    let mut next = || fields.next().unwrap_or_default();
    let (version, trace, parent, flags) = (next(), next(), next(), next());
    let rest = fields.next();
    // The version ff is none; what stands behind the flags is a later version's.
    hex(version, 2)
        && version != "ff"
        && id(trace, 32)
        && id(parent, 16)
        && hex(flags, 2)
        && (rest.is_none() || (version != "00" && text.len() <= TRACESTATE_MAX_BYTES && text.is_ascii()))
        && !text.contains('\0')
}

impl LaunchRequest {
    /// Whether both ask for the same command: from where in a trace it is asked is no part of that.
    #[doc(hidden)]
    pub fn asks_the_same_as(&self, other: &LaunchRequest) -> bool {
        let bare = |request: &LaunchRequest| LaunchRequest { trace_context: None, ..request.clone() };
        self == other || bare(self) == bare(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_as_the_recommendation_has_it() {
        assert!(TraceContext::new(GOOD).is_ok());
        assert!(TraceContext::new(GOOD.replace("00-4", "cc-4") + "-what-ever").is_ok());
        for bad in [
            "",
            "00",
            &GOOD.to_uppercase(),
            &format!("{GOOD}-more"),
            &format!("{GOOD} "),
            &GOOD.replacen("00", "ff", 1),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &GOOD.replace("4bf", "4bg"),
            &(GOOD.replace("00-4", "cc-4") + "-\0"),
            &(GOOD.replace("00-4", "cc-4") + "-" + &"x".repeat(TRACESTATE_MAX_BYTES)),
        ] {
            assert!(TraceContext::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_state_that_cannot_be_passed_on_is_left_out() {
        let with = |state: &str| TraceContext::new(GOOD).unwrap().with_tracestate(state).tracestate;
        assert_eq!(with("a=1,b=2").as_deref(), Some("a=1,b=2"));
        for bad in ["", "a=\n", "a=\0", &"x".repeat(TRACESTATE_MAX_BYTES + 1)] {
            assert_eq!(with(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn it_is_read_as_strictly_from_a_wire_and_is_no_part_of_the_command() {
        let read = |text: &str| serde_json::from_str::<TraceContext>(text);
        assert!(read(&format!("{{\"traceparent\":\"{GOOD}\",\"tracestate\":\"a=1\"}}")).is_ok());
        let said = read("{\"traceparent\":\"no\"}").unwrap_err().to_string();
        assert!(said.contains("traceparent: \"no\" is none"), "{said}");
        let plain = LaunchRequest::new(crate::SessionId::new("s"), "make");
        let traced = LaunchRequest { trace_context: Some(TraceContext::new(GOOD).unwrap()), ..plain.clone() };
        assert!(plain.asks_the_same_as(&traced) && traced.asks_the_same_as(&plain));
        let other = LaunchRequest { program: "true".into(), ..traced.clone() };
        assert!(!other.asks_the_same_as(&traced));
    }
}
