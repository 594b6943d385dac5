import { expect, test } from 'vitest';
import { createMetrics, ownText } from '../../src/telemetry/metrics.js';

test('sums and distributions appear in the text once they are read', async () => {
  const metrics = createMetrics({ defaults: false });
  metrics.requests.add('a', () => ({ endpoint: '/chat/completions', status: 200, ending: 'complete' }));
  metrics.requests.add('a', () => ({ endpoint: '/chat/completions', status: 200, ending: 'complete' }), 2);
  metrics.latency.observe('x', () => ({ endpoint: '/chat/completions' }), 0.003);
  metrics.latency.observe('x', () => ({ endpoint: '/chat/completions' }), 1_000);
  const { text } = await ownText(metrics);
  expect(text).toContain('farebox_requests_total{endpoint="/chat/completions",status="200",ending="complete"} 3');
  expect(text).toContain('farebox_request_seconds_bucket{le="0.0025",endpoint="/chat/completions"} 0');
  expect(text).toContain('farebox_request_seconds_bucket{le="0.005",endpoint="/chat/completions"} 1');
  expect(text).toContain('farebox_request_seconds_bucket{le="+Inf",endpoint="/chat/completions"} 2');
  expect(text).toContain('farebox_request_seconds_count{endpoint="/chat/completions"} 2');
  expect((await ownText(metrics)).text).toBe(text);
});
