//! A request that tests begin with: Ada's comment on `acme/shop#42`.

use super::{Issue, Repository, Request, Requester};

/// The request.
pub fn request() -> Request {
    Request {
        repository: Repository {
            id: 1,
            owner: "acme".into(),
            name: "shop".into(),
            default_branch: "main".into(),
            installation_id: 2,
        },
        issue: Issue {
            number: 42,
            title: "Login fails".into(),
            body: String::new(),
            url: "https://github.com/acme/shop/issues/42".into(),
            is_pull_request: false,
        },
        requester: Requester { id: 3, login: "ada".into() },
        comment_id: Some(7),
    }
}
