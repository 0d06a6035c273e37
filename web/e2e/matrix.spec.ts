import type { Page } from "@playwright/test";
import { violationsOf } from "./axe.ts";
import { expect, expectMediaRising, test } from "./fixtures.ts";
import { type Server, startServer } from "./server.ts";

declare global {
  interface Window {
    saidOfMatrix: string[];
  }
}

/** A server with TURN inside, which may relay to loopback: there is no other network here. */
let server: Server;
test.beforeAll(async () => {
  server = await startServer({
    SIGNALD_TURN_LISTEN: "127.0.0.1:0",
    SIGNALD_TURN_PUBLIC_IP: "127.0.0.1",
    SIGNALD_TURN_PRIVATE_PEERS: "true",
  });
});
test.afterAll(() => server.stop());

/** Runs in a page: it and that one cannot reach each other, but through a relay that both use. */
function cutOff(name: string): void {
  const lost = (connection: RTCPeerConnection) => {
    const mesh = window.signald?.mesh;
    const other = mesh?.view().peers.find(({ info }) => info.name === name);
    if (!other || mesh?.peers().get(other.info.peer_id)?.connection() !== connection) return false;
    return connection.getConfiguration().iceTransportPolicy !== "relay";
  };
  type Method<T> = (this: RTCPeerConnection, given: T) => Promise<void>;
  const prototype = RTCPeerConnection.prototype;
  const addCandidate = prototype.addIceCandidate as Method<RTCIceCandidateInit>;
  const setRemote = prototype.setRemoteDescription as Method<RTCSessionDescriptionInit>;
  prototype.addIceCandidate = async function (this: RTCPeerConnection, candidate: RTCIceCandidateInit) {
    if (!lost(this)) await addCandidate.call(this, candidate);
  } as typeof prototype.addIceCandidate;
  prototype.setRemoteDescription = async function (
    this: RTCPeerConnection,
    given: RTCSessionDescriptionInit,
  ) {
    const sdp = given.sdp ?? "";
    await setRemote.call(this, {
      type: given.type,
      sdp: lost(this) ? sdp.replace(/^a=candidate:.*\r\n/gm, "") : sdp,
    });
  } as typeof prototype.setRemoteDescription;
}

/** Runs in a page: what it says of who hears whom is kept, however soon it says something else. */
function keepNews(): void {
  window.saidOfMatrix = [];
  new MutationObserver(() => {
    const now = document.querySelector('[data-testid="matrix-news"]')?.textContent ?? "";
    if (now !== "" && now !== window.saidOfMatrix.at(-1)) window.saidOfMatrix.push(now);
  }).observe(document.body, { subtree: true, childList: true, characterData: true });
}

const cell = (page: Page, from: string, of: string) => page.locator(`[data-of="${from} ${of}"]`);

test("a pair that cannot hear each other is shown to the host, and mended through a relay", async ({
  visitor,
}) => {
  test.setTimeout(300_000);
  const patiently = { timeout: 90_000 };
  const here = { baseURL: server.url };
  const ada = await visitor.page({ ...here, viewport: { width: 360, height: 740 } });
  await ada.goto("/");
  await ada.getByTestId("create").click();
  const key = await ada.getByTestId("created-key").inputValue();
  await ada.getByTestId("to-meeting").click();
  await ada.getByTestId("name").fill("Ada");
  await ada.getByTestId("join").click();
  await ada.getByTestId("open-people").click();
  await ada.evaluate(keepNews);

  const grace = await visitor.page(here);
  await grace.addInitScript(cutOff, "Linus");
  const linus = await visitor.page(here);
  await linus.addInitScript(cutOff, "Grace");
  for (const [page, name] of [
    [grace, "Grace"],
    [linus, "Linus"],
  ] as const) {
    await page.goto(`/m/${key}`);
    await page.getByTestId("name").fill(name);
    await page.getByTestId("join").click();
    await expect(page.getByTestId("meeting")).toHaveAttribute("data-status", "joined");
  }

  const news = ada.getByTestId("matrix-news");
  await expect(cell(ada, "Grace", "Linus")).toHaveAttribute("data-hearing", /connecting|failed/, patiently);
  await expect(cell(ada, "Linus", "Grace")).toHaveAttribute("data-hearing", /connecting|failed/, patiently);
  await expect(cell(ada, "Grace", "Ada")).toHaveAttribute("data-hearing", "hears", patiently);
  expect(
    await ada.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth),
  ).toBe(true);
  for (const colorScheme of ["light", "dark"] as const) {
    await ada.emulateMedia({ colorScheme });
    const violations = await violationsOf(ada, ".matrix");
    expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" | ")}`)).toEqual(
      [],
    );
  }
  await expect
    .poll(() => ada.evaluate(() => window.saidOfMatrix.join("; ")), patiently)
    .toMatch(/do not hear each other: trying a new connection;.* do not hear each other: trying a relay/);
  await expect(news).toHaveText("Everyone hears everyone.", patiently);
  await expect(cell(ada, "Grace", "Linus")).toHaveAttribute("data-hearing", "relayed");
  await expect(cell(ada, "Linus", "Grace")).toHaveAttribute("data-hearing", "relayed");
  await expect(cell(ada, "Grace", "Ada")).toHaveAttribute("data-hearing", "hears");
  await expectMediaRising(grace, 3);
  await expectMediaRising(linus, 3);
  await grace.getByTestId("open-people").click();
  await expect(grace.getByTestId("people-panel")).toBeVisible();
  await expect(grace.getByTestId("matrix")).toHaveCount(0);
});
