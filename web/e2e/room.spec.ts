import type { Page } from "@playwright/test";
import { expect, expectMediaRising, expectMesh, holdDevices, join, others, test } from "./fixtures.ts";

const patient = { timeout: 30_000 };

/** How often this page's connections were negotiated so far. */
const negotiations = (page: Page) =>
  page.evaluate(() =>
    [...(window.signald?.mesh.peers().values() ?? [])]
      .map((peer) => (peer.connection() as RTCPeerConnection).localDescription?.sdp.match(/^o=.*$/m)?.[0])
      .join(),
  );

test("before joining one chooses devices, and hears that the microphone hears", async ({
  server,
  visitor,
}) => {
  const key = await server.createMeeting();
  const page = await visitor.page();
  await page.goto(`/m/${key}`);
  await expect(page.getByTestId("preview")).toHaveAttribute("data-video", "on");
  for (const kind of ["camera", "microphone", "speaker"]) {
    await expect(page.getByTestId(`pick-${kind}`).locator("option")).not.toHaveCount(0);
  }
  await page.getByTestId("name").click(); // a press lets the browser listen
  await expect
    .poll(() => page.getByTestId("level").evaluate((meter) => (meter as HTMLMeterElement).value), patient)
    .toBeGreaterThan(0);
  const second = await page.getByTestId("pick-microphone").locator("option").nth(1).getAttribute("value");
  await page.getByTestId("pick-microphone").selectOption(second);
  await expect(page.getByTestId("pick-microphone")).toHaveValue(second ?? "");
  await page.reload();
  await expect(page.getByTestId("pick-microphone")).toHaveValue(second ?? ""); // remembered
});

test("another microphone and camera are taken without negotiating anew", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const ada = await visitor.enter(key, "Ada");
  const grace = await visitor.enter(key, "Grace");
  await expectMesh([ada, grace]);
  const before = await negotiations(grace);
  const sent = () =>
    grace.evaluate(() =>
      [...(window.signald?.mesh.peers().values() ?? [])].flatMap((peer) =>
        (peer.connection() as RTCPeerConnection).getSenders().map(({ track }) => track?.id),
      ),
    );
  const [microphone, camera] = await sent();
  await grace.getByTestId("open-settings").click();
  await grace.getByTestId("pick-microphone").selectOption({ index: 1 });
  await expect.poll(async () => (await sent())[0], patient).not.toBe(microphone);
  // One fake camera only: taken again, as another one would be.
  await grace.getByTestId("toggle-camera").click();
  await grace.getByTestId("toggle-camera").click();
  await expect.poll(async () => (await sent())[1], patient).not.toBe(camera);
  await expect(others(ada, "Grace")).toHaveAttribute("data-video", "on");
  await expectMediaRising(ada, 2);
  expect(await negotiations(grace)).toBe(before);
});

test("raised hands are numbered in the order of raising, for all alike", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const [ada, grace] = [await visitor.enter(key, "Ada"), await visitor.enter(key, "Grace")];
  await expectMesh([ada, grace]);
  await grace.getByTestId("toggle-hand").click();
  await expect(others(ada, "Grace").getByTestId("badge-hand")).toHaveText("1");
  await ada.keyboard.press("h");
  await expect(others(grace, "Ada").getByTestId("badge-hand")).toHaveText("2");
  for (const page of [ada, grace]) {
    await expect(page.locator('[data-self="true"]').getByTestId("badge-hand")).toHaveText(
      page === ada ? "2" : "1",
    );
  }
  await expect(ada.getByTestId("notices")).toContainText("Grace raises a hand");
  await grace.getByTestId("toggle-hand").click();
  await expect(others(ada, "Grace").getByTestId("badge-hand")).toHaveCount(0);
  await expect(others(grace, "Ada").getByTestId("badge-hand")).toHaveText("1");
});

test("who speaks is marked, a pinned tile takes the stage", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const [ada, grace] = [await visitor.enter(key, "Ada"), await visitor.enter(key, "Grace")];
  await expectMesh([ada, grace]);
  // The fake microphone beeps, shortly and twice a second.
  await expect(others(ada, "Grace")).toHaveAttribute("data-speaking", "true", patient);
  await grace.getByTestId("toggle-mic").click();
  await expect(others(ada, "Grace")).toHaveAttribute("data-speaking", "false", patient);
  await others(ada, "Grace").hover();
  await others(ada, "Grace").getByRole("button", { name: "Pin Grace" }).click();
  await expect(ada.locator(".stage").getByTestId("tile")).toHaveAttribute("data-self", "false");
  await expect
    .poll(() =>
      ada.locator(".stage video").evaluate((video) => {
        const { videoWidth, paused } = video as HTMLVideoElement;
        return videoWidth > 0 && !paused;
      }),
    )
    .toBe(true);
  await ada.getByRole("button", { name: "Unpin Grace" }).click();
  await expect(ada.locator(".stage")).toHaveCount(0);
});

test("keys switch, say what they did, and let who types type", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  const page = await visitor.enter(key, "Ada");
  await page.keyboard.press("m");
  await expect(page.getByTestId("toggle-mic")).toHaveText("Unmute");
  await expect(page.getByTestId("notices")).toContainText("Microphone off");
  await page.keyboard.press("v");
  await expect(page.getByTestId("toggle-camera")).toHaveText("Camera on");
  await page.keyboard.press("?");
  await expect(page.getByTestId("help")).toContainText("raise hand");
  await page.keyboard.press("p");
  await page.getByTestId("rename").click();
  await page.getByTestId("new-name").fill("");
  await page.keyboard.type("Vim");
  await expect(page.getByTestId("new-name")).toHaveValue("Vim");
  await page.keyboard.press("Enter");
  await expect(page.getByTestId("tile-name")).toHaveText("Vim");
  await page.keyboard.press("Escape");
  await expect(page.getByTestId("people-panel")).toHaveCount(0);
  await expect(page.getByTestId("toggle-mic")).toHaveText("Unmute");
});

test("while the devices are on their way the switches say so, and a press switches off", async ({
  server,
  visitor,
}) => {
  const key = await server.createMeeting();
  const page = await visitor.page();
  const allow = await holdDevices(page);
  await page.goto(`/m/${key}`);
  const [mic, camera] = [page.getByTestId("toggle-mic"), page.getByTestId("toggle-camera")];
  await expect(mic).toHaveText("Mute");
  await expect(mic).toHaveAttribute("aria-busy", "true");
  await page.getByTestId("name").fill("Ada");
  await page.getByTestId("join").click();
  await expect(page.getByTestId("meeting")).toHaveAttribute("data-status", "joined");
  await expect(mic).toHaveAttribute("aria-busy", "true");
  await expect(mic).toHaveAccessibleDescription(/microphone is on its way/);
  await expect(camera).toHaveAccessibleDescription(/camera is on its way/);
  await expect(page.getByTestId("devices-coming")).toContainText("Waiting for your permission");
  await page.keyboard.press("m");
  await expect(mic).toHaveText("Unmute");
  await expect(mic).not.toHaveAttribute("aria-busy");
  await expect(page.getByTestId("notices")).toContainText("Microphone off");
  await allow();
  await expect(camera).not.toHaveAttribute("aria-busy");
  await expect(camera).toHaveText("Camera off");
  await expect(mic).toHaveText("Unmute");
  await expect(page.locator('[data-self="true"]')).toHaveAttribute("data-audio", "off");
  await page.keyboard.press("m");
  await expect(page.locator('[data-self="true"]')).toHaveAttribute("data-audio", "on");
});

test("the people panel tells how each connection goes, and a number that all share", async ({
  server,
  visitor,
}) => {
  const key = await server.createMeeting();
  const pages = [];
  for (const name of ["Ada", "Grace", "Linus"]) pages.push(await visitor.enter(key, name));
  await expectMesh(pages);
  const numbers = new Set<string>();
  for (const page of pages) {
    await page.getByTestId("open-people").click();
    await expect(page.getByTestId("safety-number")).toHaveText(/^(\d{5}){12}$/);
    numbers.add(await page.getByTestId("safety-number").innerText());
    await expect(page.locator('[data-testid="person"][data-trust="verified"]')).toHaveCount(2);
  }
  expect(numbers.size).toBe(1);
  const [ada, , linus] = pages as [Page, Page, Page];
  await ada.getByRole("button", { name: /^Grace/ }).click();
  const details = ada.getByTestId("details");
  await expect(details).toContainText("straight · UDP", patient);
  await expect(details).toContainText("opus", patient);
  await expect(details).toContainText(/Received[1-9]\d* kbit\/s · \w+ \d+×\d+/, patient);
  const before = await ada.getByTestId("safety-number").innerText();
  await linus.getByTestId("leave").click();
  await expect(ada.getByTestId("safety-number")).not.toHaveText(before);
});

test("language and appearance are the user's to choose, at once and for good", async ({ visitor }) => {
  const page = await visitor.page({ colorScheme: "light" });
  await page.goto("/");
  const paper = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await paper();
  await page.getByTestId("theme").selectOption("dark");
  await expect.poll(paper).not.toBe(light);
  await page.getByTestId("language").selectOption("zh");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("浏览器直连，面对面开会。");
  await expect(page.locator("html")).toHaveAttribute("lang", "zh-CN");
  await page.reload();
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("浏览器直连，面对面开会。");
  expect(await paper()).not.toBe(light);
  await page.getByTestId("language").selectOption("auto");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText(/browser to browser/);
});

test("the page can be installed", async ({ visitor }) => {
  const page = await visitor.page();
  await page.goto("/m/some-key"); // icons and start are found from any address
  const session = await page.context().newCDPSession(page);
  const { url, errors } = await session.send("Page.getAppManifest");
  expect(errors).toEqual([]);
  const manifest = await (await page.request.get(url)).json();
  expect(new URL(manifest.start_url, url).pathname).toBe("/");
  for (const { src, type } of manifest.icons) {
    const icon = await page.request.get(new URL(src, url).href);
    expect(icon.headers()["content-type"]).toContain(type);
  }
  const { installabilityErrors } = await session.send("Page.getInstallabilityErrors");
  // A browser without a window says no for that alone.
  expect(installabilityErrors.map(({ errorId }) => errorId).filter((id) => id !== "in-incognito")).toEqual(
    [],
  );
});

test("sound that the browser holds back is released by a press", async ({ server, visitor }) => {
  const key = await server.createMeeting();
  await visitor.enter(key, "Grace");
  const ada = await visitor.page();
  await ada.addInitScript(() => {
    const play = HTMLMediaElement.prototype.play;
    let pressed = false;
    addEventListener("pointerdown", (event) => {
      if ((event.target as Element).closest(".banner")) pressed = true;
    });
    HTMLMediaElement.prototype.play = function () {
      if (pressed || this.muted) return play.call(this);
      return Promise.reject(new DOMException("no gesture", "NotAllowedError"));
    };
  });
  await join(ada, key, "Ada");
  await expect(ada.getByTestId("sound-gate")).toContainText("holds back the sound");
  await ada.getByRole("button", { name: "Play sound" }).click();
  await expect(ada.getByTestId("sound-gate")).toHaveCount(0);
});
