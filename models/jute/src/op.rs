//! Operations, their errors and modes, by code.

use crate::coded::coded_enum;

coded_enum! {
    /// What a request asks for, or what a transaction did (zookeeper.md §11.4).
    pub enum OpCode("an opcode") {
        Notification = 0, "notification";
        Create = 1, "create";
        Delete = 2, "delete";
        Exists = 3, "exists";
        GetData = 4, "getData";
        SetData = 5, "setData";
        GetAcl = 6, "getACL";
        SetAcl = 7, "setACL";
        GetChildren = 8, "getChildren";
        Sync = 9, "sync";
        Ping = 11, "ping";
        GetChildren2 = 12, "getChildren2";
        Check = 13, "check";
        Multi = 14, "multi";
        Create2 = 15, "create2";
        Reconfig = 16, "reconfig";
        CheckWatches = 17, "checkWatches";
        RemoveWatches = 18, "removeWatches";
        CreateContainer = 19, "createContainer";
        DeleteContainer = 20, "deleteContainer";
        CreateTtl = 21, "createTTL";
        MultiRead = 22, "multiRead";
        Auth = 100, "auth";
        SetWatches = 101, "setWatches";
        Sasl = 102, "sasl";
        GetEphemerals = 103, "getEphemerals";
        GetAllChildrenNumber = 104, "getAllChildrenNumber";
        SetWatches2 = 105, "setWatches2";
        AddWatch = 106, "addWatch";
        WhoAmI = 107, "whoAmI";
        CreateSession = -10, "createSession";
        CloseSession = -11, "closeSession";
        Error = -1, "error";
    }
}

coded_enum! {
    /// What came of a request (zookeeper.md §5.11).
    pub enum ErrorCode("an error code") {
        Ok = 0, "OK";
        SystemError = -1, "SYSTEMERROR";
        RuntimeInconsistency = -2, "RUNTIMEINCONSISTENCY";
        DataInconsistency = -3, "DATAINCONSISTENCY";
        ConnectionLoss = -4, "CONNECTIONLOSS";
        MarshallingError = -5, "MARSHALLINGERROR";
        Unimplemented = -6, "UNIMPLEMENTED";
        OperationTimeout = -7, "OPERATIONTIMEOUT";
        BadArguments = -8, "BADARGUMENTS";
        UnknownSession = -12, "UNKNOWNSESSION";
        NewConfigNoQuorum = -13, "NEWCONFIGNOQUORUM";
        ReconfigInProgress = -14, "RECONFIGINPROGRESS";
        ApiError = -100, "APIERROR";
        NoNode = -101, "NONODE";
        NoAuth = -102, "NOAUTH";
        BadVersion = -103, "BADVERSION";
        NoChildrenForEphemerals = -108, "NOCHILDRENFOREPHEMERALS";
        NodeExists = -110, "NODEEXISTS";
        NotEmpty = -111, "NOTEMPTY";
        SessionExpired = -112, "SESSIONEXPIRED";
        InvalidCallback = -113, "INVALIDCALLBACK";
        InvalidAcl = -114, "INVALIDACL";
        AuthFailed = -115, "AUTHFAILED";
        SessionMoved = -118, "SESSIONMOVED";
        NotReadOnly = -119, "NOTREADONLY";
        EphemeralOnLocalSession = -120, "EPHEMERALONLOCALSESSION";
        NoWatcher = -121, "NOWATCHER";
        RequestTimeout = -122, "REQUESTTIMEOUT";
        ReconfigDisabled = -123, "RECONFIGDISABLED";
        SessionClosedRequireSaslAuth = -124, "SESSIONCLOSEDREQUIRESASLAUTH";
        QuotaExceeded = -125, "QUOTAEXCEEDED";
        ThrottledOp = -127, "THROTTLEDOP";
    }
}

coded_enum! {
    /// What kind of znode a create makes: the `flags` of its request (zookeeper.md §5.3).
    pub enum CreateMode("create flags from 0 to 6") {
        Persistent = 0, "persistent";
        Ephemeral = 1, "ephemeral";
        PersistentSequential = 2, "persistent_sequential";
        EphemeralSequential = 3, "ephemeral_sequential";
        Container = 4, "container";
        PersistentTtl = 5, "persistent_with_ttl";
        PersistentSequentialTtl = 6, "persistent_sequential_with_ttl";
    }
}

impl CreateMode {
    /// Whether the znode goes with its session.
    pub const fn is_ephemeral(self) -> bool {
        matches!(self, CreateMode::Ephemeral | CreateMode::EphemeralSequential)
    }

    /// Whether the server appends a number to the path.
    pub const fn is_sequential(self) -> bool {
        matches!(
            self,
            CreateMode::PersistentSequential | CreateMode::EphemeralSequential | CreateMode::PersistentSequentialTtl
        )
    }

    /// Whether the request carries a time to live.
    pub const fn is_ttl(self) -> bool {
        matches!(self, CreateMode::PersistentTtl | CreateMode::PersistentSequentialTtl)
    }
}

coded_enum! {
    /// What a watch saw. The three removals are made by clients, for themselves (zookeeper.md §11.5).
    pub enum EventType("an event type") {
        None = -1, "None";
        NodeCreated = 1, "NodeCreated";
        NodeDeleted = 2, "NodeDeleted";
        NodeDataChanged = 3, "NodeDataChanged";
        NodeChildrenChanged = 4, "NodeChildrenChanged";
        DataWatchRemoved = 5, "DataWatchRemoved";
        ChildWatchRemoved = 6, "ChildWatchRemoved";
        PersistentWatchRemoved = 7, "PersistentWatchRemoved";
    }
}

coded_enum! {
    /// A client's connection as its watchers are told. Servers send `SyncConnected` only (zookeeper.md §8.4).
    pub enum KeeperState("a connection state") {
        Disconnected = 0, "Disconnected";
        SyncConnected = 3, "SyncConnected";
        AuthFailed = 4, "AuthFailed";
        ConnectedReadOnly = 5, "ConnectedReadOnly";
        SaslAuthenticated = 6, "SaslAuthenticated";
        Expired = -112, "Expired";
        Closed = 7, "Closed";
    }
}

coded_enum! {
    /// How long and how deep an added watch looks (zookeeper.md §5.6).
    pub enum AddWatchMode("0 or 1") {
        Persistent = 0, "PERSISTENT";
        PersistentRecursive = 1, "PERSISTENT_RECURSIVE";
    }
}

coded_enum! {
    /// Which watches to check or remove (zookeeper.md §5.6).
    pub enum WatcherType("a watcher type from 1 to 5") {
        Children = 1, "Children";
        Data = 2, "Data";
        Any = 3, "Any";
        Persistent = 4, "Persistent";
        PersistentRecursive = 5, "PersistentRecursive";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_leads_back_to_its_name() {
        for &op in OpCode::ALL {
            assert_eq!(OpCode::from_code(op.code()), Some(op));
        }
        for &err in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(err.code()), Some(err));
        }
        assert_eq!(OpCode::from_code(10), None);
        assert_eq!(ErrorCode::SessionMoved.to_string(), "SESSIONMOVED");
    }
}
