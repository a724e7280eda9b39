//! Simpler rules. Whatever a fault is called and has for parameters, its spans of time are found by their form.

use engine::{Rule, SpanRange};
use machine::Span;
use serde_json::Value;

/// The places of a rule that hold a span of time, as JSON pointers; that of `when.at` is not among them.
pub(super) fn span_places(rule: &Rule) -> Vec<String> {
    let mut places = Vec::new();
    visit(&json(rule), &mut String::new(), &mut |place, value| {
        let is_name = place == "/name" || place.starts_with("/when");
        if let Value::String(text) = value
            && !is_name
            && text.parse::<SpanRange>().is_ok_and(|span| span != SpanRange::ZERO)
        {
            places.push(place.to_owned());
        }
    });
    places
}

/// The places of a rule that hold a count: `times`, also of disk errors, and `nth`.
pub(super) fn count_places(rule: &Rule) -> Vec<String> {
    let mut places = Vec::new();
    visit(&json(rule), &mut String::new(), &mut |place, value| {
        let is_count = place.ends_with("/times") || place.ends_with("/nth");
        if is_count && value.as_u64().is_some_and(|count| count > 1) {
            places.push(place.to_owned());
        }
    });
    places
}

/// The span at a place.
pub(super) fn span_at(rule: &Rule, place: &str) -> Option<SpanRange> {
    json(rule).pointer(place)?.as_str()?.parse().ok()
}

/// The count at a place.
pub(super) fn count_at(rule: &Rule, place: &str) -> Option<u64> {
    json(rule).pointer(place)?.as_u64()
}

/// The rule with another value at a place; none if that is not a rule.
pub(super) fn with(rule: &Rule, place: &str, value: Value) -> Option<Rule> {
    let mut json = json(rule);
    *json.pointer_mut(place)? = value;
    serde_json::from_value(json).ok()
}

/// The rule without a key at a place; none if it has no such key, or cannot do without it.
pub(super) fn without(rule: &Rule, place: &str, key: &str) -> Option<Rule> {
    let mut json = json(rule);
    json.pointer_mut(place)?.as_object_mut()?.remove(key)?;
    serde_json::from_value(json).ok()
}

/// The rule with another span at a place.
pub(super) fn with_span(rule: &Rule, place: &str, span: Span) -> Option<Rule> {
    with(rule, place, Value::String(SpanRange::exactly(span).to_string()))
}

/// The places of a rule that name one host of a group, to be drawn: each with the pointer to the target.
pub(super) fn drawn_targets(rule: &Rule) -> Vec<String> {
    let mut places = Vec::new();
    visit(&json(rule), &mut String::new(), &mut |place, _| {
        if let Some(target) = place.strip_suffix("/any-of") {
            places.push(target.to_owned());
        }
    });
    places
}

/// Simpler spans than this one, the boldest first: one of a range, then shorter or rounder ones. None is longer.
pub(super) fn simpler(range: SpanRange) -> Vec<Span> {
    let (least, most) = (range.least(), range.most());
    if least != most {
        let middle = Span::nanos(least.as_nanos().midpoint(most.as_nanos()));
        return vec![least, round(middle, 1_000_000), middle, most];
    }
    let nanos = most.as_nanos();
    let mut spans = vec![round(Span::nanos(nanos / 4), 1_000_000), round(Span::nanos(nanos / 2), 1_000_000)];
    spans.extend(rounder(most));
    spans.retain(|&span| span < most && span > Span::ZERO);
    spans
}

/// The same span to whole seconds, tenths, hundredths, milliseconds: rounded down.
pub(super) fn rounder(span: Span) -> Vec<Span> {
    let units = [1_000_000_000, 100_000_000, 10_000_000, 1_000_000, 100_000];
    let mut spans: Vec<Span> = units.into_iter().map(|unit| round(span, unit)).collect();
    spans.retain(|&rounded| rounded < span && rounded > Span::ZERO);
    spans.dedup();
    spans
}

fn round(span: Span, unit: u64) -> Span {
    Span::nanos(span.as_nanos() / unit * unit)
}

fn json(rule: &Rule) -> Value {
    serde_json::to_value(rule).expect("a rule is plain data")
}

fn visit(value: &Value, place: &mut String, see: &mut dyn FnMut(&str, &Value)) {
    see(place, value);
    let length = place.len();
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                place.push('/');
                place.push_str(&name.replace('~', "~0").replace('/', "~1"));
                visit(value, place, see);
                place.truncate(length);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                place.push('/');
                place.push_str(&at.to_string());
                visit(item, place, see);
                place.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        toml::from_str(text).expect("a rule")
    }

    #[test]
    fn spans_and_counts_of_a_rule_are_found_by_their_form() {
        let rule = rule(
            r#"
            name = "1s of it"
            when = { fact = "isr-changed", nth = 3 }
            after = "0ms..12ms"
            do = { pause = { target = { any-of = "brokers" }, for = "1500ms..2500ms" } }
            times = 8"#,
        );
        assert_eq!(span_places(&rule), ["/after", "/do/pause/for"]);
        assert_eq!(count_places(&rule), ["/times", "/when/nth"]);
        assert_eq!(drawn_targets(&rule), ["/do/pause/target"]);
        let shorter = with_span(&rule, "/do/pause/for", Span::secs(1)).expect("a rule");
        assert_eq!(span_at(&shorter, "/do/pause/for"), Some(SpanRange::exactly(Span::secs(1))));
        assert_eq!(count_at(&rule, "/when/nth"), Some(3));
        assert_eq!(with(&rule, "/times", Value::String("often".to_owned())), None);
    }

    #[test]
    fn simpler_spans_are_never_longer_so_that_they_come_to_an_end() {
        let mut span = Span::nanos(7_654_321_987);
        for _ in 0..60 {
            let spans = simpler(SpanRange::exactly(span));
            assert!(spans.iter().all(|&simple| simple < span), "{spans:?} of {span}");
            let Some(&longest) = spans.iter().max() else { return };
            span = longest;
        }
        panic!("still {span} after sixty steps");
    }
}
