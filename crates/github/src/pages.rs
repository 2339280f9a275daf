//! Pagination of lists.

use serde::de::DeserializeOwned;

use super::error::{Error, Kind};
use super::request::Request;
use super::wire::Answer;

/// The maximum number of pages read from one list: 100 000 entries.
const PAGE_LIMIT: usize = 1000;

/// The entries read so far and the request for the next page.
pub(super) struct Pages<T> {
    /// The request for the next page; `None` after the last page.
    pub(super) next: Option<Request>,
    /// The entries read so far.
    pub(super) items: Vec<T>,
    pages: usize,
}

impl<T: DeserializeOwned> Pages<T> {
    /// Creates a list whose first page is this request.
    pub(super) fn new(first: Request) -> Self {
        Self { next: Some(first.paged()), items: Vec::new(), pages: 0 }
    }

    /// Adds the response to `request`.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if the page is not a list, or the list exceeds the maximum number of pages.
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
