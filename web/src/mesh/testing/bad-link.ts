import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { welcome } from "./fake-signaling.ts";

/**
 * Just enough of Engine.IO and Socket.IO to greet a client, behind a link that does to it what links do.
 * `swallow`: gets no answer. `refuse`: is cut off. `portal`: a sign-in page answers. `fall silent`: greets, and is not
 * heard of again, with the connection open.
 */
export interface BadLink {
  readonly base: string;
  readonly seen: string[];
  webSocket: "work" | "swallow" | "refuse" | "fall silent";
  http: "work" | "swallow" | "portal" | "full";
  close(): Promise<void>;
}

const beat = { pingInterval: 200, pingTimeout: 200, maxPayload: 100_000 };
const greeting = [`40{"sid":"socket"}`, `42${JSON.stringify(["welcome", welcome])}`];

export async function badLink(): Promise<BadLink> {
  const open = new Set<Duplex>();
  const timers = new Set<ReturnType<typeof setInterval>>();
  const seen: string[] = [];
  const server = createServer(answer);
  const link = { seen, webSocket: "work", http: "work" } as {
    seen: string[];
    webSocket: BadLink["webSocket"];
    http: BadLink["http"];
  };
  /** What waits for the client's next poll, and the poll that waits for something. */
  let queue: string[] = [];
  let poll: ServerResponse | undefined;

  function deliver(...packets: string[]): void {
    queue.push(...packets);
    if (!poll || queue.length === 0) return;
    poll.end(queue.join("\x1e"));
    poll = undefined;
    queue = [];
  }

  function answer(request: IncomingMessage, response: ServerResponse): void {
    seen.push(request.method === "POST" ? "post" : "poll");
    if (link.http === "swallow") return;
    if (link.http === "portal") {
      response.writeHead(200, { "Content-Type": "text/html" }).end("<html>Please sign in</html>");
    } else if (link.http === "full") {
      response.writeHead(503).end('{"code":"server_full","message":"Full.","retry_after_ms":300}');
    } else if (request.method === "POST") {
      let body = "";
      request.on("data", (chunk) => {
        body += chunk;
      });
      request.on("end", () => {
        response.end("ok");
        if (body.startsWith("40")) deliver(...greeting);
      });
    } else if (!request.url?.includes("sid=")) {
      response.end(`0${JSON.stringify({ sid: "engine", upgrades: ["websocket"], ...beat })}`);
    } else {
      poll = response;
      deliver();
    }
  }

  server.on("connection", (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
  });

  server.on("upgrade", (request, socket) => {
    seen.push("upgrade");
    socket.on("error", () => {});
    if (link.webSocket === "swallow") return;
    if (link.webSocket === "refuse" || request.url?.includes("sid=")) {
      socket.destroy();
      return;
    }
    const key = `${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash("sha1").update(key).digest("base64");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    );
    socket.write(frame(`0${JSON.stringify({ sid: "engine", upgrades: [], ...beat })}`));
    const silent = link.webSocket === "fall silent";
    let greeted = false;
    socket.on("data", () => {
      if (!greeted) for (const packet of greeting) socket.write(frame(packet));
      greeted = true;
    });
    if (!silent) every(beat.pingInterval, () => socket.writable && socket.write(frame("2")));
  });

  function every(ms: number, work: () => void): void {
    timers.add(setInterval(work, ms));
  }
  every(beat.pingInterval, () => poll && deliver("2"));

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(link, {
    base: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close() {
      for (const timer of timers) clearInterval(timer);
      for (const socket of open) socket.destroy();
      return new Promise<void>((resolve) => server.close(() => resolve()));
    },
  });
}

/** A text frame of a server. */
function frame(text: string): Buffer {
  const body = Buffer.from(text);
  const head = body.length < 126 ? [0x81, body.length] : [0x81, 126, body.length >> 8, body.length & 255];
  return Buffer.concat([Buffer.from(head), body]);
}
