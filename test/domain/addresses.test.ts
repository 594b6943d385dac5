import fc from 'fast-check';
import { expect, test } from 'vitest';
import { clientAddress, isRange, mayComeFrom } from '../../src/domain/addresses.js';

const trusted = ['10.0.0.0/8', 'fd00::/8', '127.0.0.1'];
const asked = (peer: string | undefined, forwarded: string | undefined) => clientAddress({ peer, forwarded, trusted });

// A11, E10: whoever rotates the header stays the address they come from.
test.each([
  ['without a header it is the peer', '10.0.0.9', undefined, '10.0.0.9'],
  ['a stranger may write what they like', '203.0.113.9', '198.51.100.1', '203.0.113.9'],
  ['a proxy of ours says who asks', '10.0.0.9', '198.51.100.1', '198.51.100.1'],
  ['what stands further left the client wrote itself', '10.0.0.9', '1.1.1.1, 198.51.100.1', '198.51.100.1'],
  ['several proxies of ours are looked through', '10.0.0.9', '1.1.1.1, 198.51.100.1, 10.2.2.2,10.3.3.3', '198.51.100.1'],
  ['when all of them are ours, the first is who asked', '10.0.0.9', '10.1.1.1, 10.2.2.2', '10.1.1.1'],
  ['six as well as four', 'fd00::1', '2001:db8::7', '2001:db8::7'],
  ['six with a port', 'fd00::1', '[2001:db8::7]:443', '2001:db8::7'],
  ['four with a port', '10.0.0.9', '198.51.100.1:5678', '198.51.100.1'],
  ['four inside six is four, as a peer and as a hop', '::ffff:10.0.0.9', '::ffff:198.51.100.1', '198.51.100.1'],
  ['garbage is nobody, so the proxy itself stays', '10.0.0.9', 'unknown', '10.0.0.9'],
  ['garbage behind a good hop changes nothing', '10.0.0.9', 'evil\tstuff, 198.51.100.1', '198.51.100.1'],
  ['garbage between hops ends the reading', '10.0.0.9', '198.51.100.1, <script>, 10.2.2.2', '10.2.2.2'],
  ['an empty header says nothing', '10.0.0.9', '', '10.0.0.9'],
  ['commas alone say nothing', '10.0.0.9', ',,,', '10.0.0.9'],
  ['an octal form is no address', '10.0.0.9', '010.0.0.1', '10.0.0.9'],
])('%s', (_, peer, forwarded, expected) => {
  expect(asked(peer, forwarded)).toBe(expected);
});

test('without trusted proxies the header never counts', () => {
  expect(clientAddress({ peer: '10.0.0.9', forwarded: '1.2.3.4', trusted: [] })).toBe('10.0.0.9');
  expect(clientAddress({ peer: undefined, forwarded: '1.2.3.4', trusted })).toBeUndefined();
});

test('no header makes it throw, take long or believe a stranger', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 16_000 }), (forwarded) => {
      expect(asked('203.0.113.9', forwarded)).toBe('203.0.113.9');
      expect(typeof asked('10.0.0.9', forwarded)).toBe('string');
    }),
  );
  const started = performance.now();
  asked('10.0.0.9', '10.1.1.1,'.repeat(1_700));
  expect(performance.now() - started).toBeLessThan(100);
});

test.each([
  ['192.0.2.7', true],
  ['::ffff:192.0.2.7', true],
  ['192.0.3.7', false],
  ['2001:db8::1', true],
  ['2001:db9::1', false],
  ['fe80::1%eth0', false],
  ['not an address', false],
  [undefined, false],
])('from %s: %s', (address, allowed) => {
  expect(mayComeFrom(['192.0.2.0/24', '2001:db8::/32'], address)).toBe(allowed);
});

test('no ranges allow everybody; an empty list and ranges that cannot be read allow nobody', () => {
  expect(mayComeFrom(null, undefined)).toBe(true);
  expect(mayComeFrom([], '192.0.2.7')).toBe(false);
  expect(mayComeFrom(['nonsense', '1.2.3.4/99'], '1.2.3.4')).toBe(false);
  expect(['10.0.0.0/8', '::1', '2001:db8::/129', '10.0.0.0/33', 'a', '1.2.3'].map(isRange)).toEqual([
    true,
    true,
    false,
    false,
    false,
    false,
  ]);
});
