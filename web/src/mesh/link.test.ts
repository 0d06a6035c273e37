import { expect, test } from "vitest";
import { everything } from "./budget.ts";
import { type Channel, createLink } from "./link.ts";

function pair() {
  const sent: string[] = [];
  const channel = {
    readyState: "connecting",
    onopen: null,
    onmessage: null,
    send: (text: string) => sent.push(text),
  };
  let changes = 0;
  const link = createLink(channel as unknown as Channel, () => changes++);
  const fake = channel as unknown as { readyState: string; onopen(): void; onmessage(event: object): void };
  return {
    link,
    sent,
    changes: () => changes,
    open() {
      fake.readyState = "open";
      fake.onopen();
    },
    hear: (data: unknown) => fake.onmessage({ data }),
  };
}

test("what is shown is told when the channel opens, and when it changes", () => {
  const { link, sent, open } = pair();
  link.tell({ camera: 360, screen: true });
  expect(sent).toEqual([]);
  open();
  link.tell({ camera: 0, screen: false });
  expect(sent.map((text) => JSON.parse(text))).toEqual([
    { show: { camera: 360, screen: true } },
    { show: { camera: 0, screen: false } },
  ]);
});

test("until the other side says something, it shows everything", () => {
  const { link, hear, changes } = pair();
  expect(link.wish()).toEqual(everything);
  hear('{"show":{"camera":0,"screen":false}}');
  expect(link.wish()).toEqual({ camera: 0, screen: false });
  expect(changes()).toBe(1);
});

test.each([
  ["nonsense", "{"],
  ["null", "null"],
  ["something later clients say", '{"wave":true}'],
  ["a negative height", '{"show":{"camera":-1,"screen":true}}'],
  ["a height that is none", '{"show":{"camera":"all","screen":true}}'],
  ["bytes", new ArrayBuffer(4)],
  ["a book", JSON.stringify({ show: { camera: 0, screen: false, more: "x".repeat(2_000) } })],
])("%s changes nothing", (_, data) => {
  const { link, hear, changes } = pair();
  hear(data);
  expect(link.wish()).toEqual(everything);
  expect(changes()).toBe(0);
});
