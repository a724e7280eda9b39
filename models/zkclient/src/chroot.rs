//! A client's own root: it is put before every path that the client names, and taken off every path that it is told
//! (zookeeper.md §10.2).

use std::borrow::Cow;
use std::sync::Arc;

use jute::client::{MultiOp, MultiReadOp, OpResult, Request, Response};
use jute::path::{self, PathError, ROOT};
use serde::{Deserialize, Serialize};

/// The path behind the hosts of a connect string; none by default. The znode is not made by who is confined to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Chroot(Option<Arc<str>>);

impl Chroot {
    /// The whole tree.
    pub const NONE: Self = Self(None);

    /// A part of the tree; all of it for `/`.
    ///
    /// # Errors
    /// If that is no path.
    pub fn new(path: &str) -> Result<Self, PathError> {
        path::validate(path)?;
        Ok(if path == ROOT { Self::NONE } else { Self(Some(Arc::from(path))) })
    }

    /// The znode that is the client's root, unless that is the tree's.
    #[must_use]
    pub fn path(&self) -> Option<&Arc<str>> {
        self.0.as_ref()
    }

    /// What a server calls the path of a client.
    #[must_use]
    pub fn prepend<'a>(&self, path: &'a str) -> Cow<'a, str> {
        match &self.0 {
            None => Cow::Borrowed(path),
            Some(chroot) if path == ROOT => Cow::Owned(chroot.as_ref().to_owned()),
            Some(chroot) => Cow::Owned(format!("{chroot}{path}")),
        }
    }

    /// The same for a path that is shared.
    #[must_use]
    pub fn prepend_shared(&self, path: &Arc<str>) -> Arc<str> {
        match self.prepend(path) {
            Cow::Borrowed(_) => Arc::clone(path),
            Cow::Owned(path) => Arc::from(path),
        }
    }

    /// What a client calls the path of a server. What lies outside is left as it is.
    #[must_use]
    pub fn strip<'a>(&self, path: &'a str) -> &'a str {
        self.inside(path).unwrap_or(path)
    }

    /// None if it lies outside.
    fn inside<'a>(&self, path: &'a str) -> Option<&'a str> {
        let Some(chroot) = &self.0 else { return Some(path) };
        let rest = path.strip_prefix(chroot.as_ref())?;
        if rest.is_empty() { Some(ROOT) } else { rest.starts_with('/').then_some(rest) }
    }

    fn prepend_to(&self, path: &mut String) {
        if let Cow::Owned(prepended) = self.prepend(path) {
            *path = prepended;
        }
    }

    fn strip_from(&self, path: &mut String) {
        let stripped = self.strip(path);
        if stripped.len() < path.len() {
            *path = stripped.to_owned();
        }
    }

    /// Puts it before every path of a request.
    pub(crate) fn enter(&self, request: &mut Request) {
        let Some(chroot) = &self.0 else { return };
        match request {
            Request::Create(it) | Request::Create2(it) | Request::CreateContainer(it) => self.prepend_to(&mut it.path),
            Request::CreateTtl(it) => self.prepend_to(&mut it.path),
            Request::Delete(it) => self.prepend_to(&mut it.path),
            Request::DeleteContainer(it) => self.prepend_to(&mut it.path),
            Request::Exists(it) => self.prepend_to(&mut it.path),
            Request::GetData(it) => self.prepend_to(&mut it.path),
            Request::SetData(it) => self.prepend_to(&mut it.path),
            Request::GetAcl(it) => self.prepend_to(&mut it.path),
            Request::SetAcl(it) => self.prepend_to(&mut it.path),
            Request::GetChildren(it) | Request::GetChildren2(it) => self.prepend_to(&mut it.path),
            Request::Sync(it) => it.path.iter_mut().for_each(|path| self.prepend_to(path)),
            Request::Check(it) => self.prepend_to(&mut it.path),
            Request::Multi(multi) => multi.ops.iter_mut().for_each(|op| self.prepend_to(path_of(op))),
            Request::MultiRead(multi) => {
                for op in &mut multi.ops {
                    self.prepend_to(match op {
                        MultiReadOp::GetData(it) => &mut it.path,
                        MultiReadOp::GetChildren(it) => &mut it.path,
                    });
                }
            }
            Request::CheckWatches(it) | Request::RemoveWatches(it) => self.prepend_to(&mut it.path),
            Request::AddWatch(it) => self.prepend_to(&mut it.path),
            Request::GetEphemerals(it) => {
                let prefix = it.prefix.as_deref().filter(|&prefix| prefix != ROOT).unwrap_or_default();
                it.prefix = Some(format!("{chroot}{prefix}"));
            }
            Request::GetAllChildrenNumber(it) => self.prepend_to(&mut it.path),
            // No path, or those of watches, which are listed as servers call them.
            Request::Ping
            | Request::Reconfig(_)
            | Request::SetWatches(_)
            | Request::SetWatches2(_)
            | Request::WhoAmI
            | Request::Auth(_)
            | Request::Sasl(_)
            | Request::CloseSession => {}
        }
    }

    /// Takes it off every path of a response.
    pub(crate) fn leave(&self, response: &mut Response) {
        if self.0.is_none() {
            return;
        }
        match response {
            Response::Create(it) => self.strip_from(&mut it.path),
            Response::Create2(it) => self.strip_from(&mut it.path),
            Response::Sync(it) => it.path.iter_mut().for_each(|path| self.strip_from(path)),
            Response::Multi(multi) => {
                for result in &mut multi.results {
                    match result {
                        OpResult::Create(it) => self.strip_from(&mut it.path),
                        OpResult::Create2(it) => self.strip_from(&mut it.path),
                        OpResult::Delete
                        | OpResult::SetData(_)
                        | OpResult::Check
                        | OpResult::GetData(_)
                        | OpResult::GetChildren(_)
                        | OpResult::Error(_) => {}
                    }
                }
            }
            Response::GetEphemerals(it) => {
                // The server compares texts: "/app" is also how "/application" begins.
                it.ephemerals.retain(|path| self.inside(path).is_some());
                it.ephemerals.iter_mut().for_each(|path| self.strip_from(path));
            }
            Response::Exists(_)
            | Response::GetData(_)
            | Response::SetData(_)
            | Response::GetAcl(_)
            | Response::SetAcl(_)
            | Response::GetChildren(_)
            | Response::GetChildren2(_)
            | Response::Reconfig(_)
            | Response::AddWatch(_)
            | Response::GetAllChildrenNumber(_)
            | Response::WhoAmI(_)
            | Response::Sasl(_) => {}
        }
    }
}

fn path_of(op: &mut MultiOp) -> &mut String {
    match op {
        MultiOp::Create(it) | MultiOp::Create2(it) | MultiOp::CreateContainer(it) => &mut it.path,
        MultiOp::CreateTtl(it) => &mut it.path,
        MultiOp::Delete(it) => &mut it.path,
        MultiOp::SetData(it) => &mut it.path,
        MultiOp::Check(it) => &mut it.path,
    }
}

#[cfg(test)]
mod tests {
    use jute::Version;
    use jute::client::{
        CreateResponse, DeleteRequest, GetEphemeralsRequest, GetEphemeralsResponse, MultiRequest, MultiResponse,
        SyncRequest, SyncResponse,
    };

    use super::*;

    fn app() -> Chroot {
        Chroot::new("/app").expect("a path")
    }

    #[test]
    fn root_of_a_client_is_the_znode_of_its_chroot() {
        for (client, server) in [("/", "/app"), ("/a", "/app/a"), ("/a/b", "/app/a/b")] {
            assert_eq!(app().prepend(client), server);
            assert_eq!(app().strip(server), client);
        }
        for outside in ["/", "/application", "/zookeeper/config"] {
            assert_eq!(app().strip(outside), outside);
        }
    }

    #[test]
    fn slash_is_no_chroot_and_what_is_no_path_is_refused() {
        assert_eq!(Chroot::new("/"), Ok(Chroot::NONE));
        assert_eq!(Chroot::NONE.prepend("/a"), "/a");
        assert_eq!(Chroot::new("app"), Err(PathError::NotAbsolute));
        assert_eq!(Chroot::new("/app/"), Err(PathError::TrailingSlash));
    }

    #[test]
    fn every_operation_of_a_multi_enters_and_its_results_leave() {
        let op = |path: &str| MultiOp::Delete(DeleteRequest { path: path.to_owned(), version: Version::ANY });
        let mut request = Request::Multi(MultiRequest { ops: vec![op("/a"), op("/")] });
        app().enter(&mut request);
        assert_eq!(request, Request::Multi(MultiRequest { ops: vec![op("/app/a"), op("/app")] }));
        let result = |path: &str| OpResult::Create(CreateResponse { path: path.to_owned() });
        let mut response = Response::Multi(MultiResponse { results: vec![result("/app/a"), OpResult::Delete] });
        app().leave(&mut response);
        assert_eq!(response, Response::Multi(MultiResponse { results: vec![result("/a"), OpResult::Delete] }));
    }

    #[test]
    fn sync_of_the_root_and_its_answer_are_translated() {
        let mut request = Request::Sync(SyncRequest { path: Some("/".to_owned()) });
        app().enter(&mut request);
        assert_eq!(request, Request::Sync(SyncRequest { path: Some("/app".to_owned()) }));
        let mut response = Response::Sync(SyncResponse { path: Some("/app".to_owned()) });
        app().leave(&mut response);
        assert_eq!(response, Response::Sync(SyncResponse { path: Some("/".to_owned()) }));
    }

    #[test]
    fn ephemerals_outside_are_not_the_clients() {
        for (prefix, asked) in [(None, "/app"), (Some("/"), "/app"), (Some(""), "/app"), (Some("/a"), "/app/a")] {
            let mut request = Request::GetEphemerals(GetEphemeralsRequest { prefix: prefix.map(str::to_owned) });
            app().enter(&mut request);
            let expected = GetEphemeralsRequest { prefix: Some(asked.to_owned()) };
            assert_eq!(request, Request::GetEphemerals(expected));
        }
        let ephemerals = ["/app/a", "/application", "/app/b/c"].map(str::to_owned).to_vec();
        let mut response = Response::GetEphemerals(GetEphemeralsResponse { ephemerals });
        app().leave(&mut response);
        let expected = ["/a", "/b/c"].map(str::to_owned).to_vec();
        assert_eq!(response, Response::GetEphemerals(GetEphemeralsResponse { ephemerals: expected }));
    }
}
