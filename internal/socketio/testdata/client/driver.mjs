// Drives a server with the real socket.io-client, as told by the arguments:
//
//	node driver.mjs <folder with node_modules> <URL> <client options, JSON>
//
// Each thing that happens is one line of JSON on stdout; each line on stdin is
// an order: "emit …", "ack …", "transport", "disconnect", "connect".
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [folder, url, options] = process.argv.slice(2);
const require = createRequire(`${folder}/`);
const { io } = require("socket.io-client");
const { version } = require("socket.io-client/package.json");

const say = (what, ...args) => process.stdout.write(`${JSON.stringify([what, ...args])}\n`);
const bytes = (value) =>
  value && typeof value === "object" && value.bytes ? Uint8Array.from(value.bytes) : value;

say("version", version);
const socket = io(url, { reconnectionDelay: 50, reconnectionDelayMax: 200, ...JSON.parse(options) });

socket.io.on("open", () => {
  socket.io.engine.once("upgrade", (transport) => say("upgrade", transport.name));
});
socket.on("connect", () => say("connect"));
socket.on("connect_error", (error) => say("connect_error", error.message, error.data ?? null, socket.active));
socket.on("disconnect", (reason) => say("disconnect", reason, socket.active));
socket.onAny((...args) => say("event", ...args));

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [order, ...args] = JSON.parse(line);
    switch (order) {
      case "emit":
        socket.emit(...args.map(bytes));
        break;
      case "ack":
        socket.timeout(10_000).emit(...args.map(bytes), (error, ...answer) =>
          say("ack", error ? error.message : null, ...answer),
        );
        break;
      case "transport":
        say("transport", socket.io.engine.transport.name);
        break;
      case "disconnect":
        socket.disconnect();
        break;
      case "connect":
        socket.connect();
        break;
    }
  })
  .on("close", () => process.exit(0));
