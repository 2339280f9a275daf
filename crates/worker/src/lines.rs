//! Cuts a stream of bytes into lines without ever holding more than one line's limit in memory, whatever
//! the agent writes.

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// The most of one line that is kept, in bytes. An agent's JSON line carries whole files at times.
pub const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;

/// One line of output, without its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// The line; what was not UTF-8 is replaced.
    pub text: String,
    /// How many bytes did not fit.
    pub cut: u64,
}

/// Reads the next line, keeping at most `limit` bytes of it; nothing at the end of the stream.
///
/// # Errors
/// The stream's.
pub async fn next_line(
    reader: &mut (impl AsyncBufRead + Unpin),
    limit: usize,
) -> Result<Option<Line>, std::io::Error> {
    let (mut kept, mut cut, mut any) = (Vec::new(), 0_u64, false);
    loop {
        let chunk = reader.fill_buf().await?;
        if chunk.is_empty() {
            break;
        }
        any = true;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let part = &chunk[..end.unwrap_or(chunk.len())];
        let fits = part.len().min(limit - kept.len());
        kept.extend_from_slice(&part[..fits]);
        cut += (part.len() - fits) as u64;
        let used = end.map_or(chunk.len(), |end| end + 1);
        reader.consume(used);
        if end.is_some() {
            break;
        }
    }
    if kept.last() == Some(&b'\r') {
        kept.pop();
    }
    Ok(any.then(|| Line { text: String::from_utf8_lossy(&kept).into_owned(), cut }))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8], limit: usize) -> Vec<(String, u64)> {
        let mut reader = tokio::io::BufReader::with_capacity(3, bytes);
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut reader, limit).await.unwrap() {
            lines.push((line.text, line.cut));
        }
        lines
    }

    #[tokio::test]
    async fn lines_end_where_they_end_and_the_last_needs_no_end() {
        let seen = read(b"one\r\n\ntwo and a half", 100).await;
        assert_eq!(seen, [("one".into(), 0), (String::new(), 0), ("two and a half".into(), 0)]);
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut_and_counted() {
        let seen = read(b"abcdefghij\nk", 4).await;
        assert_eq!(seen, [("abcd".into(), 6), ("k".into(), 0)]);
    }

    #[tokio::test]
    async fn what_is_not_text_is_replaced() {
        assert_eq!(read(b"a\xff\xfeb", 10).await, [("a\u{fffd}\u{fffd}b".into(), 0)]);
    }
}
