/**
 * What all scenarios share: the plan of the run, which the runner has made, and what is noted of an answer.
 *
 * This is k6's JavaScript, not Node's: there are no packages to import.
 */
import { SharedArray } from 'k6/data';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter, Rate, Trend } from 'k6/metrics';

/** See `K6Plan` in ../k6-plan.ts. */
export const plan = JSON.parse(open(__ENV.PLAN));

/** One copy for all virtual users. */
export const items = new SharedArray('items', () => JSON.parse(open(plan.items)));

export const options = plan.options;

const BLOCK_BYTES = 16 * 1024 * 1024;
const PAGE_BYTES = 4096;

/**
 * Fills as much memory as may be filled before garbage is collected, once. What is garbage then is taken again during the load, while
 * memory that is new has to be given by the kernel and, on a virtual machine, by its host: up to a third of the core at 1,500
 * requests/s, and answers wait for that.
 */
function takeMemory() {
  for (let taken = 0; taken < plan.memoryBytes; taken += BLOCK_BYTES) {
    const block = new Uint8Array(BLOCK_BYTES);
    for (let at = 0; at < BLOCK_BYTES; at += PAGE_BYTES) block[at] = 1;
  }
}

/** Tells the runner that the load begins now. */
export function setup() {
  takeMemory();
  http.post(plan.begin, null, { timeout: '10s' });
}

/** What was measured, for the runner. */
export function handleSummary(data) {
  return { [plan.summary]: JSON.stringify(data) };
}

/**
 * Of the answers 2xx: from the wish to send until the last byte, ms; of the bare route, where it is compared with, apart. By slice:
 * k6 sorts what is reported by a tag, all that was measured until now, every two seconds of the load, and answers wait
 * meanwhile. A slice is small and soon over. What is reported of a phase has metrics of its own for that, sorted at the end.
 */
const admitted = new Trend('admitted', true);
const bare = new Trend('bare', true);

const phases = {};
for (const name of plan.phases) {
  const below = (of) =>
    plan.limits
      .filter((limit) => limit.phase === name && limit.of === of)
      .map(({ metric, limitMs }) => ({ limitMs, rate: new Rate(metric) }));
  phases[name] = {
    startedMs: null,
    admitted: { all: new Trend(`admitted_${name}`, true), below: below('admitted') },
    refused: { all: new Trend(`refused_${name}`, true), below: below('refused') },
  };
}

function note({ all, below }, ms) {
  all.add(ms);
  for (const { rate, limitMs } of below) rate.add(ms < limitMs);
}

const SLICES = Array.from({ length: plan.slices.count }, (_, i) => ({ slice: String(i) }));

/** Tags of the slice that it is now; undefined after the last. */
function sliceOf(phase) {
  phase.startedMs ??= scenario().startTime - Number(__ENV.AT_MS);
  return SLICES[Math.floor((Date.now() - phase.startedMs) / plan.slices.ms)];
}

/** Refused for now: 429 and 503. */
const shed = new Counter('shed');
/** No answer, or one that nobody may get. */
const failed = new Counter('failed');
/** Answers of the sample that say something else than they should. */
const wrong = new Counter('wrong');

/** Of each virtual user; k6 itself says every request that got no answer. */
const FAILURES_SAID = 1;
let failuresSaid = 0;

function say(text) {
  if (failuresSaid++ < FAILURES_SAID) console.error(text);
}

let current = null;

/** k6 makes a new object each time that it is asked for; what one says is always of now. That was 40 % of what k6 allocated. */
const scenario = () => {
  current ??= exec.scenario;
  return current;
};

/** A number that no other iteration of the phase has, from 0. */
export const iteration = () => scenario().iterationInTest;

/** A number that no other iteration of the test has. */
export const serial = () => Number(__ENV.SERIAL) + iteration();

const HEADERS = Object.assign({ 'content-type': 'application/json' }, plan.headers);

/**
 * Sends the body, and notes what is answered. Every so many answers, the parsed one goes to `isRight`.
 * @param isRight says what is wrong with the answer 2xx, or null
 */
export function ask(body, isRight) {
  const isBare = __ENV.TARGET === 'bare';
  const sampled = plan.readAll || (!isBare && iteration() % plan.sampleEvery === 0);
  const response = http.post(isBare ? plan.bareUrl : plan.url, body, {
    headers: HEADERS,
    timeout: plan.timeoutMs,
    responseType: sampled ? 'text' : 'none',
  });
  const { status, timings } = response;
  const ms = timings.blocked + timings.connecting + timings.duration;
  const phase = phases[__ENV.PHASE];
  const slice = sliceOf(phase);
  if (status >= 200 && status < 300) {
    note(phase.admitted, ms);
    (isBare ? bare : admitted).add(ms, slice);
    if (!sampled || isBare) return;
    const problem = problemOf(response.body, isRight);
    if (problem === null) return;
    wrong.add(1);
    say(`a wrong answer: ${problem}`);
  } else if ((status === 429 || status === 503 || plan.typedStatuses.includes(status)) && isTyped(response)) {
    note(phase.refused, ms);
    shed.add(1, slice);
  } else {
    failed.add(1, slice);
    say(`an answer that should not be: status ${status}, ${response.error || response.body}`);
  }
}

function problemOf(body, isRight) {
  try {
    return isRight(JSON.parse(body));
  } catch (error) {
    return String(error);
  }
}

/** Whether a refusal says why; its body is known only of the sample. */
function isTyped({ body }) {
  if (body === null) return true;
  try {
    return typeof JSON.parse(body).error.code === 'string';
  } catch {
    return false;
  }
}

/** What is wrong with an answer of features, or null. */
export function problemOfFeatures({ features, metadata }) {
  if (metadata !== undefined && !plan.degradedAllowed)
    return `not all are present: ${JSON.stringify(metadata)}`;
  if (plan.degradedAllowed) return features === undefined ? 'no features' : null;
  const missing = plan.neverNull.filter((name) => typeof features[name] !== 'number');
  return missing.length === 0 ? null : `no number: ${missing.join(', ')}`;
}

/** An event of an item, now. */
export function eventOf(item, id) {
  return `{"${plan.idField}":${id},"${plan.timeField}":${Date.now()},${item.members}}`;
}
