//! A sample request for tests: Ada's comment on `acme/shop#42`.

use crate::ids::{CommentId, InstallationId, IssueNumber, RepositoryId, RepositoryName, UserId};

use super::{Issue, Repository, Request, Requester};

/// Returns the sample request.
pub fn request() -> Request {
    Request {
        repository: Repository {
            id: RepositoryId::new(1),
            full_name: RepositoryName::new("acme", "shop"),
            default_branch: "main".into(),
            installation_id: InstallationId::new(2),
        },
        issue: Issue {
            number: IssueNumber::new(42),
            title: "Login fails".into(),
            body: String::new(),
            url: "https://github.com/acme/shop/issues/42".into(),
            is_pull_request: false,
        },
        requester: Requester { id: UserId::new(3), login: "ada".into() },
        comment_id: Some(CommentId::new(7)),
    }
}
