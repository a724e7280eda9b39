//! Situations a good campaign brings a client into.

machine::marks! {
    /// What a session may meet.
    pub enum ZkClientMark {
        /// A session went on at the server it was at.
        Resumed => "zkclient-session-resumed",
        /// A session went on at another server.
        Moved => "zkclient-session-moved",
        /// A server said that the session is over.
        ExpiredByServer => "zkclient-expired-by-server",
        /// The client itself gave the session up.
        ExpiredByClient => "zkclient-expired-by-client",
        /// A silent server was given up.
        ReadTimeout => "zkclient-read-timeout",
        /// Operations were in flight when a connection was lost.
        LostInFlight => "zkclient-connection-loss-in-flight",
        /// A reconnect found that a watched znode had changed.
        CaughtUp => "zkclient-watch-caught-up",
        /// Watches were sent again in more than one batch.
        ManyBatches => "zkclient-watches-in-batches",
        /// A watch event arrived for which there was no watch.
        Unwatched => "zkclient-event-without-watch",
        /// A server without an ensemble was read.
        ReadOnly => "zkclient-connected-read-only",
        /// Who read from a server without an ensemble found one that has one.
        ReadWriteFound => "zkclient-read-write-server-found",
        /// A connection was given up because an operation took too long.
        RequestTimeout => "zkclient-request-timeout",
    }
}
