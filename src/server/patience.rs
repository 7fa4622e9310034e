//! A client's TCP stream that is given up when the client does not take what it asked for.
//!
//! Owns the one time limit that hyper does not have: it waits for ever for room in the kernel's buffer, and a client that
//! asks and never reads would hold its descriptor as long. Knows nothing of HTTP.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Patience {
    stream: TcpStream,
    patience: Duration,
    /// From the first byte that the kernel did not take until it has taken all there was. Bytes that trickle do not
    /// stop it, or a byte a minute would hold a connection for ever.
    running: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub(crate) fn new(stream: TcpStream, patience: Duration) -> Self {
        Self { stream, patience, running: None }
    }

    pub(crate) fn into_inner(self) -> TcpStream {
        self.stream
    }

    fn watch(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            return written;
        }
        let running = self.running.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.patience)));
        ready!(running.as_mut().poll(context));
        // Closed as usual, the kernel would go on offering the client what it does not take, for a quarter of an hour.
        let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patience {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patience {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when nothing of its own is left to be written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.running = None;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(300);

    /// A client and the server's end, whose kernel keeps little.
    async fn pair() -> (TcpStream, Patience) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        (client, Patience::new(stream, PATIENCE))
    }

    async fn write_all(server: &mut Patience, bytes: &[u8]) -> io::Result<()> {
        server.write_all(bytes).await?;
        server.flush().await
    }

    #[tokio::test]
    async fn h3_a_client_that_takes_nothing_is_given_up_and_its_connection_reset() {
        let (mut client, mut server) = pair().await;
        let started = tokio::time::Instant::now();
        let written = write_all(&mut server, &vec![0; 64 << 20]).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() >= PATIENCE, "{:?}", started.elapsed());
        drop(server);
        let mut everything = Vec::new();
        let ended = client.read_to_end(&mut everything).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset, "after {} bytes", everything.len());
    }

    #[tokio::test]
    async fn h3_a_client_that_takes_a_little_now_and_then_is_given_up_too() {
        let (mut client, mut server) = pair().await;
        let trickle = async {
            let mut some = vec![0; 64 * 1024];
            while client.read(&mut some).await.is_ok_and(|count| count > 0) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let (written, ()) = tokio::join!(
            async {
                let written = write_all(&mut server, &vec![0; 256 << 20]).await;
                drop(server);
                written
            },
            trickle
        );
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_takes_everything_is_waited_for_anew_each_time() {
        let (mut client, mut server) = pair().await;
        let sent = vec![0; 8 << 20];
        let mut some = sent.clone();
        for _ in 0..2 {
            let (written, read) = tokio::join!(write_all(&mut server, &sent), async {
                // Longer than the kernel's buffers take, shorter than the patience.
                tokio::time::sleep(PATIENCE / 2).await;
                client.read_exact(&mut some).await
            });
            assert!(written.is_ok() && read.is_ok());
            assert!(server.running.is_none());
        }
    }
}
