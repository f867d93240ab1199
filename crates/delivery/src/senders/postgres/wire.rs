//! The bytes of one connection, plain or encrypted, with a limit to what is read.
//!
//! The protocol lets a server announce a message of two gigabytes, and its reader would take it. No
//! answer to what is asked here is long, so a server that sends much is not a server to listen to.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Something that bytes go over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// See the module.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    /// How many bytes may still be read.
    allowance: Rc<Cell<usize>>,
}

impl Wire {
    /// With the handle by which its allowance is renewed.
    pub(super) fn new(stream: Box<dyn Stream>, bytes: usize) -> (Self, Rc<Cell<usize>>) {
        let allowance = Rc::new(Cell::new(bytes));
        let wire = Self {
            stream,
            allowance: Rc::clone(&allowance),
        };
        (wire, allowance)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        match self.allowance.get().checked_sub(read) {
            Some(left) => {
                self.allowance.set(left);
                Poll::Ready(Ok(()))
            }
            None => Poll::Ready(Err(io::Error::other(
                "the server answers with more than any server should",
            ))),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
