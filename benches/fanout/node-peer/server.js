// The peer in Node: the same two events on socket.io, with the settings its documentation advises for speed and memory.
// It neither authenticates nor stores. `node server.js PORT`
import { createServer } from "node:http";
import { Server } from "socket.io";
import { WebSocketServer } from "ws";

const http = createServer();
const io = new Server(http, {
  transports: ["polling", "websocket"],
  wsEngine: WebSocketServer, // with bufferutil, which it loads by itself
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
});

// The first request of each session is kept for session middleware; without any, it only takes memory.
io.engine.on("connection", (socket) => {
  socket.request = null;
});

io.on("connection", (socket) => {
  socket.on("room:join", ({ roomId }, answer) => {
    socket.join(roomId);
    answer?.({ ok: true });
  });
  socket.on("message:send", ({ roomId, content }, answer) => {
    io.to(roomId).emit("message:new", {
      _id: "6b03b7ce1d197bd9c6540d30",
      id: "6b03b7ce1d197bd9c6540d30",
      conversationId: roomId,
      userId: "u100",
      username: "u100",
      content,
      type: "text",
      attachments: [],
      timestamp: "2026-02-03T04:05:06.789Z",
      delivered: false,
      read: false,
      seq: 1000,
    });
    answer?.({ ok: true });
  });
});

http.listen(Number(process.argv[2]), "127.0.0.1");
