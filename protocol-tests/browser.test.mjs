// Two people in a real browser on the page that a development server shows at /.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { after, test } from 'node:test';

import { launch } from './lib/browser.mjs';
import { showingLog, startServer } from './lib/server.mjs';
import { unique } from './lib/wait.mjs';

const PATIENCE = 10_000;
const out = new URL('out/', import.meta.url).pathname;
mkdirSync(out, { recursive: true });

const server = await startServer({ NODE_ENV: 'development' });
after(() => server.stop());
const browser = await launch();
after(() => browser.close());

/** One person with a browser profile of their own. */
class Person {
  static async open(name) {
    const person = new Person();
    const context = await browser.newContext({ viewport: { width: 900, height: 700 } });
    context.setDefaultTimeout(PATIENCE);
    person.name = name;
    person.page = await context.newPage();
    person.complaints = [];
    person.page.on('pageerror', (error) => person.complaints.push(error.message));
    await person.page.goto(server.url);
    return person;
  }

  get(id) {
    return this.page.getByTestId(id);
  }

  /** The field one writes in: `message` names it and each message of the list alike. */
  get draft() {
    return this.page.locator('input[data-testid="message"], textarea[data-testid="message"]');
  }

  /** Waits for an element with that test id and text (and more, as a CSS selector). */
  async sees(id, text, and = '') {
    const inside = id === 'message' ? '[data-testid="messages"] ' : '';
    const wanted = this.page.locator(`${inside}[data-testid="${id}"]${and}`).filter({ hasText: text });
    await wanted.first().waitFor({ state: 'visible' }).catch(async (error) => {
      const shown = await this.get(id).allInnerTexts();
      const complaints = [...this.complaints, ...(await this.get('error').allInnerTexts())];
      throw new Error(`${this.name} waited for ${id}${and} with ${text}; it shows ${JSON.stringify(shown)}; errors: ${complaints}`, { cause: error });
    });
  }

  async connect() {
    await this.get('user-name').fill(this.name);
    await this.get('connect').click();
    await this.sees('status', /\bconnected\b/i);
  }

  async join(room) {
    await this.get('room').fill(room);
    await this.get('join').click();
  }

  async say(text) {
    await this.draft.fill(text);
    await this.get('send').click();
    await this.sees('message', text);
  }
}

test('two people chat in two browsers: messages, typing, presence, receipts', { timeout: 90_000 }, showingLog(server, async () => {
  const room = unique('tea');
  const ada = await Person.open('Ada');
  const bob = await Person.open('Bob');
  await ada.connect();
  await ada.join(room);
  await bob.connect();
  await bob.join(room);
  await ada.sees('presence-user', 'Bob', '[data-status="online"]');
  await bob.sees('presence-user', 'Ada', '[data-status="online"]');

  await ada.say('said: good morning, Bob');
  await bob.sees('message', 'said: good morning, Bob');
  await bob.sees('message', 'Ada');
  await bob.say('said: good morning, Ada');
  await ada.sees('message', 'said: good morning, Ada');
  await ada.sees('message', 'Bob');
  await ada.sees('message', 'said: good morning, Bob', '[data-status="read"]');

  await ada.draft.pressSequentially('I am', { delay: 30 });
  await bob.sees('typing', /Ada is typing/);

  await ada.page.screenshot({ path: `${out}ada.png` });
  await bob.page.screenshot({ path: `${out}bob.png` });

  await ada.page.context().close();
  await bob.page.waitForFunction(
    () => ![...document.querySelectorAll('[data-testid="presence-user"][data-status="online"]')].some((e) => e.textContent.includes('Ada')),
    undefined,
    { timeout: PATIENCE },
  ).catch((error) => {
    throw new Error('Bob waited for Ada to be gone from the people online', { cause: error });
  });
  assert.deepEqual([ada.complaints, bob.complaints], [[], []], 'script errors on the pages');
}));
