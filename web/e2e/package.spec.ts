import { execFile, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as path } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, expectMediaRising, join, others, test } from "./fixtures.ts";

const web = fileURLToPath(new URL("..", import.meta.url));
const packaged = path(web, "packages/mesh");

/** A project of somebody else's, which depends on the package. */
function project(files: Record<string, string>): string {
  const folder = mkdtempSync(path(tmpdir(), "signald-package-"));
  mkdirSync(path(folder, "node_modules"));
  symlinkSync(packaged, path(folder, "node_modules/signald-mesh"));
  for (const [name, text] of Object.entries(files)) writeFileSync(path(folder, name), text);
  return folder;
}

/** Node has no WebRTC: this one comes without media, for the roster and the chat. */
const program = `
  import { openMesh } from "signald-mesh";
  const silent = () => ({
    signalingState: "stable", connectionState: "new", localDescription: null,
    addTransceiver: (kind) => ({ sender: { track: null, replaceTrack: async () => {} }, receiver: { track: { kind } } }),
    getTransceivers: () => [], createDataChannel: () => ({}), getStats: async () => new Map(),
    async setLocalDescription() {}, async setRemoteDescription() {}, async addIceCandidate() {},
    restartIce() {}, setConfiguration() {}, close() {},
  });
  const rtc = { connection: silent, stream: () => ({}), identity: async () => null };
  const [server, meetingId] = process.argv.slice(2);
  const mesh = openMesh(server, { rtc });
  mesh.on("joined", ({ name }) => console.log("joined " + name));
  mesh.on("message", async ({ name, text }) => {
    await mesh.chat.send(name + " said " + text);
    mesh.leave();
  });
  await mesh.join({ meetingId, name: "Robot" });
  console.log("in " + mesh.view().peers.length);
`;

test("a program in Node takes part by the package", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const folder = project({ "robot.mjs": program });
  const robot = spawn(process.execPath, ["robot.mjs", server.url.replace("localhost", "127.0.0.1"), key], {
    cwd: folder,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => robot.once("exit", resolve));
  const said: string[] = [];
  createInterface({ input: robot.stdout }).on("line", (line) => said.push(line));
  try {
    await expect.poll(() => said, { timeout: 30_000 }).toEqual(["in 0"]);
    const ada = await visitor.enter(key, "Ada");
    await expect(others(ada, "Robot")).toHaveCount(1);
    await expect.poll(() => said).toEqual(["in 0", "joined Ada"]);
    await ada.getByTestId("open-chat").click();
    await ada.getByTestId("chat-text").fill("hello");
    await ada.keyboard.press("Enter");
    await expect(ada.getByTestId("message").last()).toContainText("Ada said hello");
    expect(await ended).toBe(0);
    await expect(others(ada, "Robot")).toHaveCount(0);
  } finally {
    robot.kill();
    rmSync(folder, { recursive: true });
  }
});

test("the package tells its types, of events too", async () => {
  test.setTimeout(120_000); // a compiler on a busy machine
  const folder = project({
    "use.ts": `
      import { openMesh } from "signald-mesh";
      const mesh = openMesh("https://meet.example.org");
      mesh.on("message", ({ text, at }) => console.log(text.length + at));
      // @ts-expect-error there is no such event
      mesh.on("massage", () => {});
    `,
  });
  const compiler = path(web, "node_modules/typescript/bin/tsc");
  const options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "use.ts"];
  try {
    await promisify(execFile)(process.execPath, [compiler, ...options], { cwd: folder });
  } catch (error) {
    throw new Error((error as { stdout: string }).stdout);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("the example of 30 lines is a meeting with the page", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const ada = await visitor.enter(key, "Ada");
  const grace = await visitor.page();
  await grace.route("**/example.html*", (route) => route.fulfill({ path: path(packaged, "example.html") }));
  await grace.route("**/dist/*.js", (route) =>
    route.fulfill({ path: path(packaged, new URL(route.request().url()).pathname) }),
  );
  const client = path(web, "node_modules/socket.io-client/dist/socket.io.esm.min.js");
  await grace.route("https://cdn.socket.io/**", (route) =>
    route.fulfill({ path: client, headers: { "Access-Control-Allow-Origin": "*" } }),
  );
  await grace.goto(`/example.html?key=${key}&name=Grace`);
  await expect(others(ada, "Grace")).toHaveAttribute("data-state", "connected", { timeout: 30_000 });
  await expectMediaRising(ada, 2);
  await expect
    .poll(() => grace.locator("video").evaluate((video) => (video as HTMLVideoElement).videoWidth))
    .toBeGreaterThan(0);
  await join(await visitor.page(), key, "Linus");
  await expect(grace.locator("video")).toHaveCount(2);
});
