//! Rules: triggers, targets, strikes, and schedules that are refused.

use engine::{Catalogue, check_schedule};

use crate::toy::{A, Ack, Act, B, C, Image, at, quiet, rules, script, world};

#[test]
fn a_strike_before_effects_loses_the_sends_but_keeps_writes_and_facts() {
    let acts = vec![
        (10, Act::Connect(A)),
        (
            50,
            Act::All(vec![
                Act::Write(1),
                Act::Send(1_000),
                Act::Lead,
                Act::Send(1_001),
                Act::Defer(machine::Lane(1), 1),
            ]),
        ),
    ];
    let run = |strike: &str| {
        let text = format!(
            "[[faults]]\nwhen = {{ fact = \"leading\" }}\nstrike = \"{strike}\"\ndo = {{ kill = {{ target = {{ this = true }}, restart-after = \"20ms\" }} }}\n"
        );
        let mut world = world(1, vec![quiet(), script(acts.clone())], rules(&text));
        world.run_until(at(75));
        world
    };
    let before = run("before-effects");
    assert_eq!(before.judges().count(A, "got 1000") + before.judges().count(A, "got 1001"), 0, "no send has left");
    assert_eq!(before.judges().count(B, "sent 1000"), 0, "nor was it seen to");
    assert_eq!(before.judges().count(B, "leads"), 1, "the facts stand");
    assert_eq!(before.judges().count(B, "recovered 1"), 1, "the write stands");
    assert_eq!(before.judges().count(A, "reset"), 1, "the peer learns of the death");
    let after = run("after-effects");
    assert_eq!(after.judges().count(A, "got 1000") + after.judges().count(A, "got 1001"), 2);
    assert_eq!(after.judges().count(B, "recovered 1"), 1);
}

#[test]
fn a_cut_before_effects_catches_the_sends_of_its_step() {
    let acts = vec![(10, Act::Connect(A)), (50, Act::All(vec![Act::Send(1_000), Act::Lead]))];
    let text = r#"
        [[faults]]
        when = { fact = "leading" }
        strike = "before-effects"
        do = { isolate = { target = { this = true }, for = "500ms" } }
    "#;
    let mut world = world(1, vec![quiet(), script(acts)], rules(text));
    world.run_until(at(540));
    assert_eq!(world.judges().count(A, "got 1000"), 0);
    world.run_until(at(2_000));
    assert_eq!(world.judges().count(A, "got 1000"), 1);
}

#[test]
fn roles_situations_and_fields_decide_who_is_struck_and_when() {
    let acts = vec![(10, Act::Lead), (30, Act::Defer(machine::Lane(1), 5)), (60, Act::Defer(machine::Lane(1), 6))];
    let text = r#"
        [[faults]]
        name = "by-field"
        when = { fact = "turned", where = { n = 6, lane = 1 }, host = { role = "leader" } }
        do = { pause = { target = { role = "leader" }, for = "1s" } }
        [[faults]]
        name = "by-situation"
        when = { fact = "leader-known" }
        after = "5ms"
        do = { clock-jump = { target = { except = { group = "toys", target = { role = "leader" } } }, by-ms = 7 } }
        [[faults]]
        name = "never"
        when = { fact = "turned", where = { n = 7 } }
        do = { heal = {} }
    "#;
    let mut world = world(1, vec![quiet(), script(acts), quiet()], rules(text));
    world.run_until(at(500));
    assert!(world.judges().at(B, "paused") >= at(60));
    assert_eq!(world.judges().count(A, "paused") + world.judges().count(C, "paused"), 0);
    let faults = &world.recording().unwrap().faults;
    assert_eq!(
        faults.iter().map(|fault| (fault.name, fault.targets.clone())).collect::<Vec<_>>(),
        [("clock-jump", vec![A, C]), ("pause", vec![B]),]
    );
    assert_eq!(faults[1].text, "pause the leader for 1s");
    let counts: Vec<_> = world.rules().map(|(_, count)| (count.fired, count.felt)).collect();
    assert_eq!(counts, [(1, 0), (1, 1), (0, 0)]);
}

#[test]
fn nth_and_times_count_matches() {
    let sends = (0..10).map(|n| (50 + n * 10, Act::Send(1_000 + n)));
    let acts = [(10, Act::Connect(A))].into_iter().chain(sends).collect();
    let text = "[[faults]]\nwhen = { fact = \"got\", nth = 4 }\ntimes = 2\ndo = { clock-jump = { target = { this = true }, by-ms = 1 } }\n";
    let silent = Image { ack: Ack::Silent, ..quiet() };
    let mut world = world(1, vec![silent, script(acts)], rules(text));
    world.run_until(at(1_000));
    let count = world.rules().next().unwrap().1;
    assert_eq!((count.matches, count.fired), (10, 2));
    let at_faults: Vec<_> = world.recording().unwrap().faults.iter().map(|fault| fault.at).collect();
    assert_eq!(at_faults, [world.judges().at(A, "got 1003"), world.judges().at(A, "got 1004")]);
}

fn catalogue() -> Catalogue {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Catalogue {
        facts: owned(&["leading", "got"]),
        roles: owned(&["leader"]),
        hosts: owned(&["a", "b"]),
        groups: owned(&["toys"]),
        lanes: vec!["one".to_owned()],
    }
}

#[track_caller]
fn refused(rule: &str, expected: &str) {
    let error = check_schedule(&rules(&format!("[[faults]]\n{rule}\n")), &catalogue()).expect_err("it is refused");
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn a_schedule_that_names_something_unknown_is_refused_with_what_is_known() {
    let kill = "do = { kill = { target = { host = \"a\" } } }";
    refused(
        &format!("when = {{ fact = \"leeding\" }}\n{kill}"),
        "rule 1: there is no fact `leeding`; known: leading, got",
    );
    refused(
        "when = { at = \"1s\" }\ndo = { kill = { target = { role = \"chief\" } } }",
        "no role `chief`; known: leader",
    );
    refused("when = { at = \"1s\" }\ndo = { kill = { target = { host = \"z\" } } }", "no host `z`; known: a, b");
    refused(
        "when = { at = \"1s\" }\ndo = { kill = { target = { any-of = \"tays\" } } }",
        "no group `tays`; known: toys",
    );
    refused(
        &format!("when = {{ fact = \"got\", where = {{ n = {{ role = \"chief\" }} }} }}\n{kill}"),
        "no role `chief`",
    );
}

#[test]
fn a_schedule_that_contradicts_itself_is_refused() {
    let kill = "do = { kill = { target = { host = \"a\" } } }";
    refused(&format!("when = {{ at = \"1s\" }}\nstrike = \"before-effects\"\n{kill}"), "needs a fact");
    refused(&format!("when = {{ fact = \"got\" }}\nafter = \"1s\"\nstrike = \"before-effects\"\n{kill}"), "no `after`");
    refused(&format!("when = {{ at = \"1s\" }}\ntimes = 2\n{kill}"), "a time comes once");
    let pause = "do = { pause = { target = { host = \"a\" } } }";
    refused(&format!("when = {{ fact = \"got\" }}\nstrike = \"before-effects\"\n{pause}"), "still lets the effects");
    refused(
        "when = { at = \"1s\" }\ndo = { loss = { from = { host = \"a\" }, to = { host = \"b\" }, one-in = 0 } }",
        "at least 1",
    );
}

#[track_caller]
fn unreadable(rule: &str, expected: &str) {
    let error = toml::from_str::<engine::Rule>(rule).expect_err("it is unreadable");
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn what_cannot_be_read_is_refused_with_what_would_be_right() {
    let kill = "do = { kill = { target = { host = \"a\" } } }";
    unreadable(&format!("when = {{ fakt = \"got\" }}\n{kill}"), "unknown field `fakt`, expected one of `at`, `fact`");
    unreadable(&format!("when = {{ at = \"1s\", fact = \"got\" }}\n{kill}"), "either a time (`at`) or a fact");
    unreadable(&format!("when = {{ at = \"soon\" }}\n{kill}"), "must begin with a whole number");
    unreadable(
        "when = { at = \"1s\" }\ndo = { kil = { target = { host = \"a\" } } }",
        "unknown variant `kil`, expected one of",
    );
    unreadable(
        "when = { at = \"1s\" }\ndo = { pause = { target = { host = \"a\" }, fur = \"1s\" } }",
        "fur, available keys: target, for",
    );
    unreadable("when = { at = \"1s\" }\ndo = { kill = { target = { hosst = \"a\" } } }", "unknown variant `hosst`");
    unreadable(&format!("when = {{ fact = \"got\", where = {{ n = 1.5 }} }}\n{kill}"), "a whole number, a text, true");
}

#[test]
fn a_rule_is_written_as_it_is_read() {
    let text = r#"
        [[faults]]
        name = "one"
        when = { fact = "got", where = { n = 3, who = { role = "leader" }, ok = true }, host = { any-of = "toys" }, nth = 2 }
        strike = "before-effects"
        do = { partition = { groups = [[{ role = "leader" }], [{ rest-of = "toys" }]], for = "1s..2s" } }
        times = 3
    "#;
    let rule = rules(text).remove(0);
    let again: engine::Rule = toml::from_str(&toml::to_string(&rule).unwrap()).unwrap();
    assert_eq!(rule, again);
    assert_eq!(rule.to_string(), "one: partition the leader | the rest of the toys for 1s..2s, when got");
}
