//! How large a request's body may be and how long it may take to arrive. Each route that reads a body states both;
//! the router lets the others read none.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::DefaultBodyLimit;
use axum::routing::MethodRouter;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;
use tower_http::map_request_body::MapRequestBodyLayer;

/// The limits of a route's bodies.
#[derive(Clone, Copy)]
pub(super) struct BodyLimit {
    /// The largest body, in bytes; a larger one is answered with 413.
    pub bytes: usize,
    /// The time from the request's head to the end of its body.
    pub time: Duration,
}

/// Routes that can be given a limit.
pub(super) trait LimitBody {
    /// The methods that are there so far, with this limit.
    fn limit_body(self, limit: BodyLimit) -> Self;
}

impl<S: Clone + Send + Sync + 'static> LimitBody for MethodRouter<S> {
    fn limit_body(self, limit: BodyLimit) -> Self {
        let in_time = move |body| ending(body, Instant::now() + limit.time);
        self.route_layer(DefaultBodyLimit::max(limit.bytes)).route_layer(MapRequestBodyLayer::new(in_time))
    }
}

/// The body; one that has not arrived by then ends with an error.
fn ending(body: Body, at: Instant) -> Body {
    let next = move |mut rest: BodyDataStream| async move {
        match tokio::time::timeout_at(at, rest.next()).await {
            Ok(chunk) => chunk.map(|chunk| (chunk, rest)),
            Err(late) => Some((Err(axum::Error::new(late)), rest)),
        }
    };
    Body::from_stream(stream::unfold(body.into_data_stream(), next))
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;

    use super::*;

    async fn collected(
        chunks: impl futures_util::Stream<Item = &'static str> + Send + 'static,
    ) -> Option<Bytes> {
        let body = Body::from_stream(chunks.map(Ok::<_, std::io::Error>));
        let body = ending(body, Instant::now() + Duration::from_millis(20));
        axum::body::to_bytes(body, 100).await.ok()
    }

    #[tokio::test]
    async fn a_body_that_arrives_in_time_is_complete() {
        assert_eq!(collected(stream::iter(["a", "b"])).await.as_deref(), Some(b"ab".as_slice()));
    }

    #[tokio::test]
    async fn a_body_that_stops_arriving_is_an_error_and_not_a_shorter_one() {
        assert_eq!(collected(stream::iter(["a", "b"]).chain(stream::pending())).await, None);
    }
}
