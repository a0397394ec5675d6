/* What a C library signs and verifies in a given time: asked over standard input, so that it can be measured in turn
 * with others. Built by trust-bench: with -DSODIUM for libsodium, else for OpenSSL's libcrypto.
 *
 * The file that the first argument names: lengths are 32 bits, little-endian.
 *   hash (0, 256 or 384), private key (PKCS#8; for libsodium the seed), public key (SubjectPublicKeyInfo; for libsodium
 *   32 bytes), number of items, and for each item message and signature.
 * A line "verify MILLISECONDS" or "sign MILLISECONDS" is answered by "OPERATIONS NANOSECONDS".
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef SODIUM
#include <sodium.h>
#else
#include <openssl/evp.h>
#include <openssl/x509.h>
#endif

#define ITEMS_MAX 4096
#define BYTES_MAX 8192

struct bytes {
  unsigned char *data;
  uint32_t length;
};

static struct bytes messages[ITEMS_MAX], signatures[ITEMS_MAX];
static uint32_t items;

static void fail(const char *what) {
  fprintf(stderr, "peer: %s\n", what);
  exit(1);
}

static uint32_t read_length(FILE *file) {
  unsigned char raw[4];
  if (fread(raw, 1, sizeof raw, file) != sizeof raw) fail("the file is too short");
  return raw[0] | (uint32_t)raw[1] << 8 | (uint32_t)raw[2] << 16 | (uint32_t)raw[3] << 24;
}

static struct bytes read_bytes(FILE *file) {
  struct bytes read = {NULL, read_length(file)};
  if (read.length > BYTES_MAX) fail("a value is too long");
  read.data = malloc(read.length ? read.length : 1);
  if (!read.data || fread(read.data, 1, read.length, file) != read.length) fail("the file is too short");
  return read;
}

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

#ifdef SODIUM
static unsigned char public_key[crypto_sign_PUBLICKEYBYTES], secret_key[crypto_sign_SECRETKEYBYTES];

static void prepare(uint32_t hash, struct bytes private, struct bytes public) {
  if (sodium_init() < 0) fail("libsodium does not start");
  if (hash != 0 || private.length != crypto_sign_SEEDBYTES || public.length != sizeof public_key) fail("not Ed25519");
  crypto_sign_seed_keypair(public_key, secret_key, private.data);
  if (memcmp(public_key, public.data, sizeof public_key) != 0) fail("the halves of the key do not fit");
}

static int verify(struct bytes message, struct bytes signature) {
  return signature.length == crypto_sign_BYTES &&
         crypto_sign_verify_detached(signature.data, message.data, message.length, public_key) == 0;
}

static int sign(struct bytes message) {
  unsigned char signature[crypto_sign_BYTES];
  return crypto_sign_detached(signature, NULL, message.data, message.length, secret_key) == 0;
}
#else
static EVP_PKEY *public_key, *private_key;
static const EVP_MD *function;
static EVP_MD_CTX *context;

static void prepare(uint32_t hash, struct bytes private, struct bytes public) {
  const unsigned char *at = public.data;
  public_key = d2i_PUBKEY(NULL, &at, (long)public.length);
  at = private.data;
  private_key = d2i_AutoPrivateKey(NULL, &at, (long)private.length);
  /* Fetched once, as OpenSSL 3 asks of who wants to be fast. */
  function = hash == 256 ? EVP_MD_fetch(NULL, "SHA256", NULL) : hash == 384 ? EVP_MD_fetch(NULL, "SHA384", NULL) : NULL;
  context = EVP_MD_CTX_new();
  if (!public_key || !private_key || !context || (hash != 0 && !function)) fail("the key does not read");
}

static int verify(struct bytes message, struct bytes signature) {
  return EVP_MD_CTX_reset(context) == 1 && EVP_DigestVerifyInit(context, NULL, function, NULL, public_key) == 1 &&
         EVP_DigestVerify(context, signature.data, signature.length, message.data, message.length) == 1;
}

static int sign(struct bytes message) {
  unsigned char signature[BYTES_MAX];
  size_t length = sizeof signature;
  return EVP_MD_CTX_reset(context) == 1 && EVP_DigestSignInit(context, NULL, function, NULL, private_key) == 1 &&
         EVP_DigestSign(context, signature, &length, message.data, message.length) == 1;
}
#endif

int main(int count, char **words) {
  if (count != 2) fail("one argument: the file");
  FILE *file = fopen(words[1], "rb");
  if (!file) fail("the file does not open");
  uint32_t hash = read_length(file);
  struct bytes private = read_bytes(file), public = read_bytes(file);
  items = read_length(file);
  if (items == 0 || items > ITEMS_MAX) fail("no items, or too many");
  for (uint32_t item = 0; item < items; item++) {
    messages[item] = read_bytes(file);
    signatures[item] = read_bytes(file);
  }
  fclose(file);
  prepare(hash, private, public);
  for (uint32_t item = 0; item < items; item++)
    if (!verify(messages[item], signatures[item])) fail("a good signature counts as bad");
  signatures[0].data[signatures[0].length - 1] ^= 1;
  if (verify(messages[0], signatures[0])) fail("a bad signature counts as good");
  signatures[0].data[signatures[0].length - 1] ^= 1;

  char line[64];
  uint32_t next = 0;
  while (fgets(line, sizeof line, stdin)) {
    char what[16];
    unsigned milliseconds;
    if (sscanf(line, "%15s %u", what, &milliseconds) != 2 || milliseconds > 600000) fail("a word that is none");
    int verifies = strcmp(what, "verify") == 0;
    if (!verifies && strcmp(what, "sign") != 0) fail("a word that is none");
    uint64_t from = now(), until = from + (uint64_t)milliseconds * 1000000u, at = from, done = 0;
    while (at < until) {
      if (!(verifies ? verify(messages[next], signatures[next]) : sign(messages[next]))) fail("it failed");
      next = (next + 1) % items;
      done++;
      at = now();
    }
    printf("%llu %llu\n", (unsigned long long)done, (unsigned long long)(at - from));
    fflush(stdout);
  }
  return 0;
}
