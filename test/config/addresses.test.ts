import { expect, test } from 'vitest';
import { baseUrlProblem } from '../../src/config/addresses.js';

test.each([
  'http://169.254.169.254/',
  'http://169.254.169.254.',
  'http://2852039166/',
  'http://0xa9fea9fe/',
  'http://0xa9.0xfe.0xa9.0xfe/',
  'http://0251.0376.0251.0376/',
  'http://169.254.43518/',
  'http://[::ffff:169.254.169.254]/',
  'http://[::ffff:a9fe:a9fe]/',
  'http://[0:0:0:0:0:ffff:a9fe:a9fe]/',
  'http://[::169.254.169.254]/',
  'http://[64:ff9b::a9fe:a9fe]/',
  'http://[2002:a9fe:a9fe::]/',
  'http://[fd00:ec2::254]/',
  'http://[fd00:0ec2:0:0:0:0:0:254]/',
  'http://metadata.google.internal/',
  'http://METADATA.google.INTERNAL./v1',
  'http://100.100.100.200/',
  'http://１６９.254.169.254/',
])('the metadata service is refused as %s', (url) => {
  expect(baseUrlProblem(url)).toMatch(/metadata/);
});

test.each([
  'http://127.0.0.1:11434/v1',
  'http://localhost',
  'http://[::1]:8000/v1',
  'http://10.0.0.5',
  'http://192.168.1.4/v1',
  'https://api.openai.com/v1',
  'http://[fd00::1]/',
  'http://169.254.1.1',
])("%s is the operator's word", (url) => {
  expect(baseUrlProblem(url)).toBeUndefined();
});

test.each([
  '',
  'api.openai.com',
  'ftp://x',
  'file:///etc/passwd',
  'javascript:1',
  'http://u:p@x',
  'http://u@x',
  'http://x/?a=1',
  'http://x/#a',
  'http://',
])('%s is no base URL', (url) => {
  expect(baseUrlProblem(url)).toBeDefined();
});
