#!/usr/bin/env bash
# A whole life of an account, with nothing but curl: sign up, invite, get credits by a code, make a token with a quota, spend
# until it refuses, raise it, set a monthly limit and meet it, read the logs and the usage, export them, charge an event, and
# let the books prove themselves.
#
#     npm start                      # in another terminal
#     bash examples/walkthrough.sh
#
# FAREBOX_URL names the server (default http://127.0.0.1:8080), FAREBOX_DATA its data folder (default ./data), where the
# operator's key is. It makes an account and an organization of its own each time and changes nothing else.
set -euo pipefail

URL=${FAREBOX_URL:-http://127.0.0.1:8080}
URL=${URL%/}
OPERATOR_KEY=${FAREBOX_OPERATOR_KEY:-$(cat "${FAREBOX_DATA:-./data}/operator.key")}
RUN="$(date +%s)-$$"
COOKIES=$(mktemp)
ANSWER=$(mktemp)
HEADERS=$(mktemp)
trap 'rm -f "$COOKIES" "$ANSWER" "$HEADERS"' EXIT

# --- Three small tools -------------------------------------------------------------------------------------------------

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

# call WHO METHOD PATH [BODY]: asks, shows what came back, and leaves it in $status and $body.
# WHO is `person` (the cookie of whoever signed in), or a key or token to send as a bearer.
call() {
  local who=$1 method=$2 path=$3 body=${4-}
  local options=(--silent --show-error --output "$ANSWER" --dump-header "$HEADERS" --write-out '%{http_code}' --request "$method")
  if [ "$who" = person ]; then
    options+=(--cookie "$COOKIES" --cookie-jar "$COOKIES" --header "Origin: $URL")
  else
    options+=(--header "Authorization: Bearer $who")
  fi
  if [ -n "$body" ]; then options+=(--header 'Content-Type: application/json' --data "$body"); fi
  # The same key with the same body is done once, however often it is sent: use a new one for every new wish.
  if [ "$method" = POST ]; then options+=(--header "Idempotency-Key: $RUN-$((++calls))"); fi
  status=$(curl "${options[@]}" "$URL$path")
  body=$(cat "$ANSWER")
  printf '  %-4s %s → %s\n' "$method" "$path" "$status"
}
calls=0

# must STATUS: stops when the last answer was another one.
must() {
  if [ "$status" != "$1" ]; then
    printf 'expected %s, but got %s:\n%s\n' "$1" "$status" "$(cat "$ANSWER")" >&2
    exit 1
  fi
}

# field NAME: the first text, number or truth value of this name in the last answer. Programs parse JSON; this keeps to curl.
field() { grep -oE "\"$1\":(\"[^\"]*\"|[a-z0-9.]+)" "$ANSWER" | sed -nE '1s/^"[^"]*":"?([^"]*)"?$/\1/p'; }

# credits NAME: the first amount of this name in the last answer, in credits.
credits() { grep -oE "\"$1\":\{\"credits\":\"[^\"]*\"" "$ANSWER" | sed -nE '1s/.*"([^"]*)"$/\1/p'; }

# ask TOKEN: a small chat completion with the built-in model `demo`.
ask() { call "$1" POST /v1/chat/completions '{"model":"demo","max_tokens":16,"messages":[{"role":"user","content":"Say hello."}]}'; }

# --- The story ---------------------------------------------------------------------------------------------------------

say '1. Somebody signs up and gets an organization'
call person POST /api/v1/auth/sign-up "{\"email\":\"ada-$RUN@example.com\",\"password\":\"a long enough password\",\"name\":\"Ada\",\"organization_name\":\"Engines $RUN\"}"
must 202
call person POST /api/v1/auth/sign-in "{\"email\":\"ada-$RUN@example.com\",\"password\":\"a long enough password\"}"
must 200
call person GET /api/v1/me
must 200
ORG=$(field home_org_id)
echo "  the organization is $ORG"

say '2. She invites a colleague, and makes a management key for her programs'
call person POST "/api/v1/orgs/$ORG/invites" "{\"emails\":[\"grace-$RUN@example.com\"],\"role_id\":\"developer\"}"
must 201
call person POST "/api/v1/orgs/$ORG/management-keys" '{"name":"walkthrough","scopes":["usage:read","logs:read","tokens:read","tokens:write","balance:read","topups:write","limits:read","limits:write","meter:write"]}'
must 201
KEY=$(field secret)

say '3. The operator grants credits as a gift, and makes a batch of redemption codes'
call "$OPERATOR_KEY" POST "/api/v1/admin/orgs/$ORG/grants" '{"credits":"2.5","reason":"a warm welcome","kind":"goodwill"}'
must 201
call "$OPERATOR_KEY" POST /api/v1/admin/code-batches "{\"name\":\"walkthrough $RUN\",\"credits\":5,\"count\":2,\"credits_expire_after\":\"90d\"}"
must 201
CODE=$(sed -nE 's/.*"codes":\["([^"]*)".*/\1/p' "$ANSWER")

say "4. She redeems one of them, and sees why her balance is what it is"
call "$KEY" POST "/api/v1/orgs/$ORG/redemptions" "{\"code\":\"$CODE\"}"
must 200
call "$KEY" GET "/api/v1/orgs/$ORG/balance"
must 200
echo "  available: $(credits available) credits"
call "$KEY" GET "/api/v1/orgs/$ORG/statement"
must 200
echo "  granted: $(credits granted), consumed: $(credits consumed), remaining: $(credits remaining)"

say '5. A token for one application, with a quota of its own'
call "$KEY" POST "/api/v1/orgs/$ORG/tokens" '{"name":"my app","quota":"0.005"}'
must 201
TOKEN_ID=$(field id)
TOKEN=$(field secret)

say '6. The application spends, until the quota refuses'
asked=0
while [ "$asked" -lt 50 ]; do
  ask "$TOKEN"
  asked=$((asked + 1))
  if [ "$status" != 200 ]; then break; fi
done
must 402
echo "  refused with $(field code)"

say '7. More quota, and the very next request is answered'
call "$KEY" POST "/api/v1/orgs/$ORG/tokens/$TOKEN_ID/quota" '{"op":"add","amount":1}'
must 200
ask "$TOKEN"
must 200
grep -iE '^x-(request-id|credits-(charged|remaining)):' "$HEADERS" | sed 's/^/  /'
REQUEST=$(sed -nE 's/^x-request-id: (req_[0-9a-f]+).*/\1/ip' "$HEADERS")

say '8. A monthly limit stops everything, and says where to raise it'
call "$KEY" PUT "/api/v1/orgs/$ORG/limits" '{"allowed_limit":"0.000001"}'
must 200
ask "$TOKEN"
must 402
echo "  refused with $(field code); see $(field resolve_url)"
call "$KEY" PUT "/api/v1/orgs/$ORG/limits" '{"alert_threshold":80,"allowed_limit":100}'
must 200
ask "$TOKEN"
must 200

say '9. What was spent on what: logs, one request in detail, the month'
for _ in $(seq 50); do # a charge is booked a moment after its answer
  call "$KEY" GET "/api/v1/orgs/$ORG/logs/$REQUEST"
  if [ "$status" = 200 ]; then break; fi
  sleep 0.2
done
must 200
echo "  charged: $(credits charged) credits for request $REQUEST"
call "$KEY" GET "/api/v1/orgs/$ORG/logs?model=demo&limit=5"
must 200
call "$KEY" GET "/api/v1/orgs/$ORG/usage/monthly"
must 200
echo "  used this month: $(credits used) credits"

say '10. Everything as a table'
call "$KEY" GET "/api/v1/orgs/$ORG/logs/export?format=csv"
must 200
sed -n '1,3s/^/  /p' "$ANSWER" | cut -c 1-110

say '11. Something that is no request to a model is charged from the same wallet'
call "$KEY" GET "/api/v1/orgs/$ORG/pricing"
must 200
METER=$(sed -nE 's/.*\{"name":"([^"]*)","label":"[^"]*","kind":"meter".*/\1/p' "$ANSWER")
if [ -n "$METER" ]; then
  call "$KEY" POST "/api/v1/orgs/$ORG/meter-events" "{\"events\":[{\"event_id\":\"walkthrough-$RUN\",\"action\":\"$METER\",\"quantity\":1}]}"
  must 200
  echo "  one $METER: $(credits charged) credits"
else
  echo '  no meters are priced here; config.example.yaml shows how'
fi

say '12. The books prove themselves'
call "$OPERATOR_KEY" GET /api/v1/admin/reconciliation
must 200
if [ "$(field clean)" != true ]; then
  cat "$ANSWER" >&2
  exit 1
fi
echo '  everything agrees, to the last millionth of a credit'
