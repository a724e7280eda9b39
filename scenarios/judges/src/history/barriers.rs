//! Barriers and double barriers, judged by who passed when.

use std::sync::Arc;

use clients::RecipeCall as Kind;

use super::recipes::{Judged, Recipes, Recorded, anomaly};
use super::record::Anomaly;
use crate::Rule;

/// Why a barrier may be passed early.
const ACROSS_SESSIONS: &str =
    "who waits at a barrier asks again in its next session, on a server that may be behind: a hole of the recipe";
/// Why a double barrier may be left early.
const ENTERED_LATE: &str =
    "who enters a round anew that is open already is not waited for by those that leave: a hole of the recipe";

/// One barrier, which is set once and lifted once.
pub(super) fn judge_barrier(barrier: &Arc<str>, calls: &[Recorded], judged: &mut Judged) -> Vec<Anomaly> {
    let lifts = calls.iter().filter(|call| call.call.kind == Kind::LiftBarrier && !call.failed());
    let first_lift = lifts.min_by_key(|lift| lift.invoked.place);
    let is_held = |place| first_lift.is_none_or(|lift| lift.invoked.place > place);
    let (mut anomalies, mut across) = (Vec::new(), 0);
    let passes = calls.iter().filter(|call| call.call.kind == Kind::WaitAtBarrier);
    let passes: Vec<_> = passes.filter_map(|call| Some((call, call.succeeded()?))).collect();
    judged.checked(Rule::BarrierEarly, passes.len());
    for (pass, (end, at)) in passes {
        if !is_held(at.place) {
            continue;
        }
        if end.session != pass.call.session || end.session.is_zero() {
            across += 1;
            continue;
        }
        let headline = format!("client {} passed {barrier}, which it had seen, before it was lifted", pass.call.client);
        let mut story = vec![(pass, "")];
        story.extend(first_lift.map(|lift| (lift, "")));
        anomalies.push(anomaly(Rule::BarrierEarly, "passed-early", headline, &story));
    }
    judged.relax(Rule::BarrierEarly, ACROSS_SESSIONS, across);
    anomalies
}

/// One round of a double barrier.
pub(super) fn judge_double_barrier(
    round: &Arc<str>,
    calls: &[Recorded],
    recipes: &Recipes,
    judged: &mut Judged,
) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    let of = |kind| calls.iter().filter(move |call| call.call.kind == kind);
    let mut passes = 0;
    for enter in of(Kind::Enter) {
        let Some((_, at)) = enter.succeeded() else { continue };
        passes += 1;
        let members = enter.call.value.unwrap_or_default();
        let mut begun: Vec<u16> =
            of(Kind::Enter).filter(|it| it.invoked.place < at.place).map(|it| it.call.client).collect();
        begun.sort_unstable();
        begun.dedup();
        if (begun.len() as u64) < members {
            let client = enter.call.client;
            let headline = format!("client {client} entered {round} when {} of {members} had come", begun.len());
            anomalies.push(anomaly(Rule::DoubleBarrierApart, "entered-early", headline, &[(enter, "")]));
        }
    }
    let mut late = 0;
    for leave in of(Kind::Leave) {
        let Some((_, left_at)) = leave.succeeded() else { continue };
        passes += 1;
        // Whoever lost its session inside has left without knowing it.
        let others = of(Kind::Enter).filter(|enter| enter.call.client != leave.call.client);
        for (enter, (end, _)) in others.filter_map(|enter| Some((enter, enter.succeeded()?))) {
            let has_begun_to_leave = of(Kind::Leave)
                .any(|other| other.call.client == enter.call.client && other.invoked.place < left_at.place);
            if has_begun_to_leave || !recipes.has_lived_beyond(end.session, left_at.place) {
                continue;
            }
            if end.place.zip(end.value).is_none_or(|(own, ready)| own > ready) {
                late += 1;
                continue;
            }
            let headline = format!(
                "client {} left {round} while client {} was still inside",
                leave.call.client, enter.call.client
            );
            anomalies.push(anomaly(Rule::DoubleBarrierApart, "left-early", headline, &[(enter, ""), (leave, "")]));
        }
    }
    judged.checked(Rule::DoubleBarrierApart, passes);
    judged.relax(Rule::DoubleBarrierApart, ENTERED_LATE, late);
    anomalies
}
