#!/usr/bin/env bash
# Makes the dumps of PostgreSQL in this directory anew: notary-signer makes keys in a database, pg_dump writes its table.
# Everything is on the loopback and thrown away. ../PROVENANCE.md tells what is in the dumps.
#
#   dump_postgresql.sh MIGRATION     as root, with Debian's notary, postgresql, curl and openssl; MIGRATION is
#                                    migrations/signer/postgresql/0001_initial.up.sql of github.com/theupdateframework/notary
set -euo pipefail
export LC_ALL=C
[ $# -eq 1 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
migration=$(realpath "$1") there=$(realpath "$(dirname "$0")")
port=17899 database_port=15432
programs=$(dirname "$(ls /usr/lib/postgresql/*/bin/initdb | tail -n 1)")
stage=$(mktemp -d)
cd "$stage"
signer=
finish() {
  [ -z "$signer" ] || kill "$signer" || true
  as_postgres "$programs/pg_ctl" --pgdata data --mode immediate stop >/dev/null || true
  rm -rf "$stage"
}
as_postgres() { runuser -u postgres -- "$@"; }
trap finish EXIT

# The database, as the source's own notarysql/postgresql-initdb.d makes it.
chown postgres .
as_postgres "$programs/initdb" --pgdata data --auth trust --encoding UTF8 --no-locale >/dev/null
as_postgres "$programs/pg_ctl" --pgdata data --log log --wait \
  --options "-c listen_addresses=127.0.0.1 -c port=$database_port -c unix_socket_directories=" start >/dev/null
export PGHOST=127.0.0.1 PGPORT=$database_port PGOPTIONS='-c client_min_messages=warning'
psql --quiet --username postgres --command 'CREATE USER signer' --command 'CREATE DATABASE notarysigner OWNER signer' postgres
psql --quiet --username signer --set ON_ERROR_STOP=1 --file "$migration" notarysigner

# The signer.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost -keyout signer.key -out signer.pem 2>/dev/null
cat >signer.json <<END
{"server": {"grpc_addr": "127.0.0.1:$port", "tls_cert_file": "signer.pem", "tls_key_file": "signer.key"},
 "logging": {"level": "error"},
 "storage": {"backend": "postgres", "default_alias": "timestamp_1",
   "db_url": "postgres://signer@127.0.0.1:$database_port/notarysigner?sslmode=disable"}}
END
NOTARY_SIGNER_TIMESTAMP_1='a passphrase for tests' notary-signer -config signer.json 2>signer.log &
signer=$!

# field NUMBER TEXT: a field of a message.
field() { printf "\\x$(printf %02x $(($1 << 3 | 2)))\\x$(printf %02x "${#2}")%s" "$2"; }

# call METHOD: with the request from standard input; the answer is in the file `answer`.
call() {
  cat >request
  { printf "\\0\\0\\0\\0\\x$(printf %02x "$(wc -c <request)")"; cat request; } >frame
  curl --silent --show-error --fail --http2 --noproxy '*' --retry 20 --retry-delay 1 --retry-connrefused --cacert signer.pem \
    --header 'content-type: application/grpc' --header 'te: trailers' --data-binary @frame \
    --dump-header headers --output answer "https://localhost:$port/proto.$1"
  grep -iq '^grpc-status: 0' headers || { cat headers signer.log >&2; exit 1; }
}

# key ALGORITHM GUN ROLE: makes one, and shows its name.
key() {
  { field 1 "$1"; field 2 "$2"; field 3 "$3"; } | call KeyManagement/CreateKey
  grep -aoE -m 1 '[0-9a-f]{64}' answer | head -n 1
}

timestamp=$(key ecdsa ex.io/team/app timestamp)
key ecdsa ex.io/team/app snapshot >/dev/null
other=$(key ed25519 ex.io/team/other timestamp)
deleted=$(key ecdsa ex.io/team/gone timestamp)
for used in "$timestamp" "$other"; do
  { field 1 "$(field 1 "$used")"; field 2 '{"_type":"Timestamp"}'; } | call Signer/Sign
done
field 1 "$deleted" | call KeyManagement/DeleteKey

dump() { pg_dump --username signer --table private_keys "$@" notarysigner; }
dump >"$there/private_keys_postgresql.sql"
dump --inserts >"$there/private_keys_postgresql_inserts.sql"
psql --quiet --username signer --command "ALTER DATABASE notarysigner SET bytea_output = 'escape'" notarysigner
dump >"$there/private_keys_postgresql_escape.sql"
