//! A list that GitHub hands out page by page.

use serde::de::DeserializeOwned;

use super::error::{Error, Kind};
use super::request::Request;
use super::wire::Answer;

/// The most pages that are read of one list: 100 000 entries.
const PAGE_LIMIT: usize = 1000;

/// The pages read so far, and the request for the next one.
pub(super) struct Pages<T> {
    /// The page to ask for; nothing once all are there.
    pub(super) next: Option<Request>,
    /// What came so far.
    pub(super) items: Vec<T>,
    pages: usize,
}

impl<T: DeserializeOwned> Pages<T> {
    /// A list that begins with this request.
    pub(super) fn new(first: Request) -> Self {
        Self { next: Some(first.paged()), items: Vec::new(), pages: 0 }
    }

    /// Takes in the answer to `request`.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when the page is not a list, or the list has no end.
    pub(super) fn add(&mut self, request: &Request, answer: &Answer) -> Result<(), Error> {
        self.items.extend(answer.json::<Vec<T>>()?);
        self.next = request.next_page(answer.link());
        self.pages += 1;
        if self.pages == PAGE_LIMIT && self.next.is_some() {
            return Err(Error::new(
                Kind::Unavailable { retry_after: None },
                format!("the list has more than {PAGE_LIMIT} pages"),
                answer.call(),
            ));
        }
        Ok(())
    }
}
