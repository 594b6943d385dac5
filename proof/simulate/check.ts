import type { OrgId } from '../../src/domain/ids.js';
import { ORGS, orgName, requestName } from './cast.js';
import { Violation } from './violation.js';
import type { World } from './world.js';

/**
 * What an organization could still be held for, by the books and everything ever said about its requests. Only while the
 * store never lost anything: a lost one is told again by every gateway in its own time.
 */
export function trueRoom(world: World, orgId: OrgId): number {
  const { books, hot, stories } = world;
  const { balance, terms } = hot.org(orgId);
  // Credits taken back bind the store from the moment it is told.
  const untold = books.wallet(orgId).voids.reduce((sum, one) => (one.version > (balance?.balanceVersion ?? 0) ? sum + one.amount : sum), 0);
  return books.avail(orgId) + untold + (terms?.overdraft ?? 0) - stories.owed(orgId, books);
}

/** Compares everything the store says of each organization with the model, and with what may never happen. */
export async function checkStore(world: World): Promise<void> {
  for (const orgId of ORGS) if (!world.damaged.has(orgId)) await checkOrg(world, orgId);
}

async function checkOrg(world: World, orgId: OrgId): Promise<void> {
  const { hot, subject } = world;
  const state = await subject.inspect(orgId);
  const name = orgName(orgId);
  if (hot.stateOf(orgId) !== 'open') {
    if (!state || !('kind' in state)) throw new Violation('no spending while closed', `${name} was shown while its shard is not open`);
    return;
  }
  if (!state || 'kind' in state) throw new Violation('no surprise', `${name} cannot be inspected: ${state?.reason ?? 'unknown'}`);
  const { holds, pending } = state;
  const held = holds.reduce((sum, { amount }) => sum + amount, 0);
  const pend = pending.reduce((sum, { cost }) => sum + cost, 0);
  if (state.held !== held || state.pend !== pend) {
    throw new Violation('held and pend are sums', `${name} says ${state.held} held, ${state.pend} pending; its parts say ${held}, ${pend}`);
  }
  checkVersion(world, orgId, state.balance.balanceVersion);
  const model = hot.org(orgId);
  const { avail, balanceVersion, monthSpent } = state.balance;
  const said = `avail ${avail} version ${balanceVersion} month ${monthSpent} overdraft ${state.overdraft} terms ${state.termsVersion}`;
  const { balance, terms } = model;
  const told = `avail ${balance?.avail} version ${balance?.balanceVersion} month ${balance?.monthSpent} overdraft ${terms?.overdraft} terms ${terms?.version}`;
  if (said !== told) throw new Violation('balance is what Postgres said', `${name}: ${said}, expected ${told}`);
  const found = holds.map((one) => `${requestName(one.requestId)}=${one.amount}/${one.floor}`).sort();
  const known = [...model.holds].map(([id, one]) => `${requestName(id)}=${one.amount}/${one.floor}`).sort();
  if (found.join() !== known.join()) throw new Violation('answers follow the contract', `${name} holds ${found}, expected ${known}`);
  const ended = pending.map((one) => `${requestName(one.requestId)}=${one.kind} ${one.cost}`).sort();
  const expected = [...model.pending].map(([id, one]) => `${requestName(id)}=${one.kind} ${one.cost}`).sort();
  if (ended.join() !== expected.join())
    throw new Violation('answers follow the contract', `${name} has pending ${ended}, expected ${expected}`);
  if (state.spendable !== hot.spendable(orgId)) throw new Violation('held and pend are sums', `${name} can spend ${state.spendable}`);
  if (!world.lossless || state.spendable <= trueRoom(world, orgId)) return;
  throw new Violation('spendable is on the safe side', `${name} can spend ${state.spendable}, truly ${trueRoom(world, orgId)}`);
}

function checkVersion(world: World, orgId: OrgId, version: number): void {
  const life = world.life(orgId);
  const before = world.versions.get(orgId);
  if (before?.life === life && version < before.version) {
    throw new Violation('versions never go back', `${orgName(orgId)} went from version ${before.version} to ${version} within one life`);
  }
  world.versions.set(orgId, { life, version });
}

/** Nothing is running, on its way or untold: now store and books must say the same, to the last micro-credit. */
export async function checkRest(world: World): Promise<void> {
  await checkStore(world);
  const { books, stories, subject } = world;
  for (const orgId of ORGS) {
    const state = await subject.inspect(orgId);
    const name = orgName(orgId);
    if (!state || 'kind' in state) throw new Violation('comes to rest', `${name} cannot be inspected`);
    if (state.held !== 0 || state.pend !== 0)
      throw new Violation('comes to rest', `${name} still has ${state.held} held, ${state.pend} pending`);
    world.tally.drift += Math.abs(state.balance.avail - books.avail(orgId));
    if (state.balance.avail !== books.avail(orgId)) {
      throw new Violation('credits are conserved', `${name} has ${state.balance.avail} in the store, ${books.avail(orgId)} in the books`);
    }
    checkBooks(world, orgId);
  }
  stories.verify(books, world.lossless);
}

function checkBooks(world: World, orgId: OrgId): void {
  const { books } = world;
  const wallet = books.wallet(orgId);
  const { granted, charged, voided, debt } = wallet;
  const remaining = wallet.grants.reduce((sum, { left }) => sum + left, debt);
  if (granted !== remaining + charged + voided) {
    throw new Violation(
      'credits are conserved',
      `${orgName(orgId)}: ${granted} granted, ${remaining} remain, ${charged} charged, ${voided} voided`,
    );
  }
  let rows = 0;
  for (const row of books.rows.values()) if (row.orgId === orgId) rows += row.cost;
  if (rows !== charged) throw new Violation('credits are conserved', `${orgName(orgId)}: ${charged} charged, its rows say ${rows}`);
  const mayOwe =
    !world.strict || !world.lossless || voided > 0 || world.late.has(orgId) || wallet.terms.overdraft > 0 || world.overdrawn.has(orgId);
  if (!mayOwe && remaining < 0) throw new Violation('strict never goes below zero', `${orgName(orgId)} is at ${remaining}`);
}
