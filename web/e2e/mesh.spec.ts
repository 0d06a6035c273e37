import type { Page } from "@playwright/test";
import { expect, expectMediaRising, expectMesh, join, others, received, test } from "./fixtures.ts";

const patient = { timeout: 30_000 };

/** What each outgoing picture may cost, and what its encoder aims at, in kbit/s. */
const outgoing = (page: Page) =>
  page.evaluate(async () => {
    const list: { most: number; target: number; active: boolean; frames: number }[] = [];
    for (const peer of window.signald?.mesh.peers().values() ?? []) {
      const connection = peer.connection() as RTCPeerConnection;
      const sender = connection.getSenders().find(({ track }) => track?.kind === "video");
      const [encoding] = sender?.getParameters().encodings ?? [];
      const reports = [...(await connection.getStats()).values()];
      const stream = reports.find(({ type, kind }) => type === "outbound-rtp" && kind === "video");
      list.push({
        most: (encoding?.maxBitrate ?? 0) / 1_000,
        target: (stream?.targetBitrate ?? 0) / 1_000,
        active: encoding?.active ?? false,
        frames: stream?.framesSent ?? 0,
      });
    }
    return list;
  });

test("the more people there are, the less each picture costs", async ({ server, visitor }) => {
  test.setTimeout(120_000); // four people on a busy machine
  const key = await server.createMeeting();
  const pages = [await visitor.enter(key, "Ada"), await visitor.enter(key, "Grace")];
  await expectMesh(pages);
  const [ada] = pages as [Page];
  await expect.poll(async () => (await outgoing(ada))[0]?.target, patient).toBeGreaterThan(800);
  pages.push(await visitor.enter(key, "Linus"), await visitor.enter(key, "王宇"));
  await expectMesh(pages);
  await expect
    .poll(async () => (await outgoing(ada)).map(({ most, target }) => most <= 760 && target <= 760), patient)
    .toEqual([true, true, true]);
  for (const page of pages) await expectMediaRising(page, 4);
});

test("a tile that nobody sees costs nothing, its sound goes on", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const [ada, grace] = [await visitor.enter(key, "Ada"), await visitor.enter(key, "Grace")];
  await expectMesh([ada, grace]);
  const look = (hidden: boolean) =>
    ada.evaluate((hidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, value: hidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
  await expect.poll(async () => (await outgoing(grace))[0]?.active, patient).toBe(true);
  await look(true);
  await expect.poll(async () => (await outgoing(grace))[0]?.active, patient).toBe(false);
  const still = await outgoing(grace);
  const sound = async () =>
    Object.entries(await received(ada)).find(([flow]) => flow.endsWith("audio"))?.[1] ?? 0;
  const before = await sound();
  await expect.poll(sound, patient).toBeGreaterThan(before + 5_000);
  expect((await outgoing(grace))[0]?.frames).toBeLessThanOrEqual((still[0]?.frames ?? 0) + 2);
  await look(false);
  await expectMediaRising(ada, 2);
});

test("a certificate that was swapped on the way is refused, and everyone is told", async ({
  server,
  visitor,
}) => {
  const key = await server.createMeeting();
  const ada = await visitor.enter(key, "Ada");
  const grace = await visitor.page();
  // Whoever carries the signals puts a certificate of its own in place of Grace's.
  await grace.routeWebSocket(/socket\.io/, (socket) => {
    const upstream = socket.connectToServer();
    socket.onMessage((message) => {
      upstream.send(
        String(message).replace(/a=fingerprint:sha-256 [0-9A-F]{2}:/g, "a=fingerprint:sha-256 00:"),
      );
    });
  });
  await join(grace, key, "Grace");
  await expect(others(ada, "Grace")).toHaveAttribute("data-state", "refused");
  await expect(ada.getByTestId("notices")).toContainText("Grace: refused");
  await ada.getByTestId("open-people").click();
  await expect(ada.locator('[data-trust="refused"]')).toContainText("Someone may be listening in");
  expect(Object.values(await received(ada)).reduce((sum, bytes) => sum + bytes, 0)).toBe(0);
  const linus = await visitor.enter(key, "Linus");
  await expect(others(ada, "Linus")).toHaveAttribute("data-state", "connected", patient);
  await expect(others(linus, "Ada")).toHaveAttribute("data-state", "connected", patient);
});
