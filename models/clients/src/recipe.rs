//! What a recipe's user asks of it.

/// A call of a recipe: the operation of a queue or a barrier, made of several operations of ZooKeeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecipeCall {
    /// Puts an element at the end of a queue.
    Enqueue,
    /// Takes the first element of a queue.
    Dequeue,
    /// Sets a barrier.
    SetBarrier,
    /// Lifts a barrier.
    LiftBarrier,
    /// Waits until a barrier is lifted.
    WaitAtBarrier,
    /// Waits at a double barrier until all have entered.
    Enter,
    /// Waits at a double barrier until all have left.
    Leave,
}

impl RecipeCall {
    /// The name in facts and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enqueue => "enqueue",
            Self::Dequeue => "dequeue",
            Self::SetBarrier => "set-barrier",
            Self::LiftBarrier => "lift-barrier",
            Self::WaitAtBarrier => "wait-at-barrier",
            Self::Enter => "enter",
            Self::Leave => "leave",
        }
    }
}
