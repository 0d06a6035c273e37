import type { Page } from "@playwright/test";
import { io, type Socket } from "socket.io-client";
import { expect, expectMesh, holdDevices, others, test, type Visitor } from "./fixtures.ts";

/** Less than the ten seconds that a place is kept for who lost the connection. */
const soon = { timeout: 7_000 };

/** A meeting whose creator is in it, as its host, with the people panel open. */
async function hosted(visitor: Visitor): Promise<{ host: Page; key: string }> {
  const host = await visitor.page();
  await host.goto("/");
  await host.getByTestId("create").click();
  const key = await host.getByTestId("created-key").inputValue();
  await host.getByTestId("to-meeting").click();
  await host.getByTestId("name").fill("Ada");
  await host.keyboard.press("Enter");
  await host.getByTestId("open-people").click();
  return { host, key };
}

const openControls = (host: Page) => host.getByTestId("host-controls").locator("summary").click();
const openPerson = (host: Page, name: string) =>
  host.getByRole("button", { name: new RegExp(`^${name}`) }).click();

test("a microphone that comes after the host has forbidden it stays off", async ({ visitor }) => {
  const { host, key } = await hosted(visitor);
  await openControls(host);
  await host.getByTestId("allow-speak").click();
  await host.getByTestId("toggle-mic").click(); // silence: who speaks is news, at which the policy is looked at
  const grace = await visitor.page();
  const allow = await holdDevices(grace);
  await grace.goto(`/m/${key}`);
  await grace.getByTestId("name").fill("Grace");
  await grace.getByTestId("join").click();
  await expect(grace.getByTestId("toggle-mic")).toBeDisabled();
  await expectMesh([host, grace]);
  await allow();
  await expect(grace.getByTestId("toggle-camera")).not.toHaveAttribute("aria-busy"); // both have come
  await expect(grace.getByTestId("toggle-mic")).toHaveText("Unmute");
});

test("what the host forbids is switched off at once, for guests alone", async ({ visitor }) => {
  const { host, key } = await hosted(visitor);
  const grace = await visitor.enter(key, "Grace");
  await expectMesh([host, grace]);
  await openControls(host);
  await host.getByTestId("allow-speak").click();
  await expect(grace.getByTestId("toggle-mic")).toBeDisabled();
  await expect(others(host, "Grace").getByTestId("badge-muted")).toBeVisible();
  await expect(host.getByTestId("toggle-mic")).toBeEnabled();
  await host.getByTestId("allow-chat").click();
  await grace.getByTestId("open-chat").click();
  await expect(grace.getByTestId("chat")).toContainText("switched the chat off");
  await host.getByTestId("allow-speak").click();
  await expect(grace.getByTestId("toggle-mic")).toBeEnabled();
  await openPerson(host, "Grace");
  await host.getByTestId("do-stop_video").click();
  await expect(others(host, "Grace")).toHaveAttribute("data-video", "off");
  await expect(grace.getByTestId("notices")).toContainText("stopped your camera");
  await host.getByTestId("do-spotlight").click();
  await expect(grace.locator(".stage").getByTestId("tile")).toHaveAttribute("data-self", "true");
  await host.getByTestId("do-promote").click();
  await expect(grace.getByTestId("notices")).toContainText("You are host now");
});

test("who waits in the lobby is let in or not, and need not wait again", async ({ visitor }) => {
  test.slow(); // five pages, one after the other
  const { host, key } = await hosted(visitor);
  await openControls(host);
  await host.getByTestId("allow-lobby").click();
  await expect(host.getByTestId("allow-lobby")).toBeChecked();
  async function knock(name: string, memo: string): Promise<Page> {
    const page = await visitor.page();
    await page.goto(`/m/${key}`);
    await page.getByTestId("name").fill(name);
    await page.getByText("A word to the host").click();
    await page.getByTestId("memo").fill(memo);
    await page.getByTestId("join").click();
    await expect(page.getByTestId("waiting")).toContainText("asked to let you in");
    return page;
  }
  const grace = await knock("Grace", "from the navy");
  await expect(host.getByTestId("waiter")).toContainText("from the navy");
  await expect(host.getByTestId("notices")).toContainText("Grace asks to be let in");
  await expect(host.getByTestId("lobby-count")).toHaveText("1");
  await host.getByTestId("admit").click();
  await expect(grace.getByTestId("meeting")).toBeVisible();
  await expectMesh([host, grace]);

  const eve = await knock("Eve", "");
  await host.getByTestId("deny").click();
  await expect(eve.getByTestId("error")).toContainText("did not let you in");
  const shy = await knock("Shy", "");
  await expect(host.getByTestId("waiter")).toContainText("Shy");
  await shy.getByTestId("stop-waiting").click();
  await expect(shy.getByTestId("join")).toBeVisible();
  await expect(host.getByTestId("waiter")).toHaveCount(0, soon);
  const gone = await knock("Gone", "");
  await expect(host.getByTestId("waiter")).toContainText("Gone");
  await gone.goto("about:blank");
  await expect(host.getByTestId("waiter")).toHaveCount(0, soon);

  await grace.getByTestId("leave").click();
  await grace.getByTestId("rejoin").click();
  await grace.getByTestId("join").click();
  await expectMesh([host, grace]);
});

test("the host empties the lobby of one network, and of everybody, at once", async ({ server, visitor }) => {
  const { host, key } = await hosted(visitor);
  await openControls(host);
  await host.getByTestId("allow-lobby").click();
  await expect(host.getByTestId("allow-lobby")).toBeChecked();
  const sockets: Socket[] = [];
  const denied = new Set<string>();
  async function knock(...names: string[]): Promise<void> {
    for (const name of names) {
      const socket = io(server.url, { transports: ["websocket"], forceNew: true });
      sockets.push(socket);
      socket.on("denied", () => denied.add(name));
      const answer = await socket
        .timeout(10_000)
        .emitWithAck("join", { v: 2, meeting_id: key, user_id: name, name });
      expect(answer.code).toBe("waiting");
    }
  }
  try {
    await knock("One", "Two", "Three", "Four");
    await expect(host.getByTestId("waiter")).toHaveCount(4);
    await host.getByTestId("deny-network").first().click();
    await expect(host.getByTestId("waiter")).toHaveCount(0, soon);
    await knock("Five", "Six");
    await expect(host.getByTestId("waiter")).toHaveCount(2);
    await expect(host.getByTestId("deny-network")).toHaveCount(0);
    await host.getByTestId("deny-all").click();
    await expect(host.getByTestId("waiter")).toHaveCount(0, soon);
    await expect.poll(() => denied.size).toBe(6);
  } finally {
    for (const socket of sockets) socket.disconnect();
  }
});

test("who is removed stays out, and the end is for everyone", async ({ visitor }) => {
  const { host, key } = await hosted(visitor);
  const [grace, linus] = [await visitor.enter(key, "Grace"), await visitor.enter(key, "Linus")];
  await openPerson(host, "Grace");
  await host.getByTestId("do-kick").click();
  await expect(host.getByTestId("do-kick")).toHaveText("Remove: really?");
  await expect(host.getByTestId("means")).toContainText("kept out for an hour");
  await host.getByTestId("do-kick").click();
  await expect(grace.getByTestId("over")).toContainText("removed you");
  await grace.getByTestId("rejoin").click();
  await grace.getByTestId("join").click();
  await expect(grace.getByTestId("error")).toContainText("shut out");
  await grace.getByTestId("name").fill("Mallory"); // from the same network
  await grace.getByTestId("join").click();
  await expect(host.getByTestId("waiter")).toContainText("Mallory");
  await expect(host.getByTestId("like")).toContainText("removed somebody from this network");
  await openPerson(host, "Linus");
  await host.getByTestId("do-kick_lock").click();
  await expect(host.getByTestId("means")).toContainText("until you unlock the meeting");
  await host.getByTestId("do-kick_lock").blur();
  await expect(host.getByTestId("means")).toHaveText("");
  await openControls(host);
  const download = host.waitForEvent("download");
  await host.getByTestId("attendance").click();
  expect((await download).suggestedFilename()).toBe("attendees.csv");
  await host.getByTestId("end").click();
  await host.getByTestId("end").click();
  for (const page of [host, linus]) await expect(page.getByTestId("over")).toBeVisible();
  await expect(linus.getByTestId("over")).toContainText("over");
});
