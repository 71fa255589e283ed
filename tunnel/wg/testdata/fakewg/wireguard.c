// A test double of wireguard.dll, for runs under Wine: it has the interface of wireguard.h of
// WireGuardNT 1.0, keeps everything in memory, and writes down what it is asked. It is for one
// thread and one adapter at a time.
#include <windows.h>
#include <stdarg.h>
#include <stdio.h>

#define EXPORT(type) __declspec(dllexport) type WINAPI

enum { HAS_PRIVATE_KEY = 2, HAS_LISTEN_PORT = 4, REPLACE_PEERS = 8 };
enum { PEER_REMOVE = 64 };
enum { MAX_PEERS = 8, GIVEN_PORT = 40000 };

typedef struct {
	DWORD flags;
	WORD port;
	BYTE private_key[32], public_key[32];
	DWORD peers;
	BYTE pad[4];
} HEAD;

typedef struct {
	DWORD flags, reserved;
	BYTE public_key[32], preshared_key[32];
	WORD keepalive, pad1;
	BYTE endpoint[28];
	ULONGLONG sent, received, handshake;
	DWORD allowed_ips;
	BYTE pad[4];
} PEER;

typedef struct {
	BYTE address[16];
	WORD family;
	BYTE cidr, pad;
	DWORD flags;
} ALLOWED_IP;

typedef struct { PEER peer; ALLOWED_IP ip; } KNOWN; // every peer has one allowed IP here

static char journal[1 << 16];
static int length;
static HEAD head;
static KNOWN known[MAX_PEERS];
static int state, failing_creates, failing_configs;
static void *adapter;

static void note(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	length += vsnprintf(journal + length, sizeof journal - length, format, args);
	va_end(args);
	if (length >= (int)sizeof journal)
		length = sizeof journal - 1;
}

// What was asked since the last time, a line each.
EXPORT(int) FakeJournal(char *out, int size)
{
	int n = length < size ? length : size;
	memcpy(out, journal, n);
	length = 0;
	return n;
}

// The next calls of one kind that fail.
EXPORT(void) FakeFailures(int creates, int configs) { failing_creates = creates; failing_configs = configs; }

// Every peer has spoken, at a time as FILETIME counts.
EXPORT(void) FakeHandshake(ULONGLONG at, ULONGLONG sent, ULONGLONG received)
{
	for (DWORD i = 0; i < head.peers; i++) {
		known[i].peer.handshake = at;
		known[i].peer.sent = sent;
		known[i].peer.received = received;
	}
}

typedef void (CALLBACK *LOGGER)(int level, ULONGLONG at, LPCWSTR line);
static LOGGER logger;

EXPORT(void) WireGuardSetLogger(LOGGER f) { logger = f; }

// The driver says something.
EXPORT(void) FakeSay(int level, LPCWSTR line) { if (logger) logger(level, 0, line); }

EXPORT(void *) WireGuardCreateAdapter(LPCWSTR name, LPCWSTR type, const GUID *id)
{
	note("create %ls %ls %08lx-%04x-%04x-%02x%02x\n", name, type, id->Data1, id->Data2, id->Data3, id->Data4[0], id->Data4[1]);
	if (failing_creates > 0) {
		failing_creates--;
		SetLastError(ERROR_NOT_READY);
		return 0;
	}
	ZeroMemory(&head, sizeof head);
	state = 0;
	adapter = (char *)adapter + 1;
	return adapter;
}

EXPORT(void *) WireGuardOpenAdapter(LPCWSTR name) { note("open %ls\n", name); SetLastError(ERROR_NOT_FOUND); return 0; }
EXPORT(void) WireGuardCloseAdapter(void *a) { note("close\n"); }
EXPORT(BOOL) WireGuardDeleteDriver(void) { note("delete driver\n"); return TRUE; }
EXPORT(void) WireGuardGetAdapterLUID(void *a, ULONGLONG *luid) { *luid = 0x35000000000000ULL + (ULONGLONG)(ULONG_PTR)a; }
EXPORT(DWORD) WireGuardGetRunningDriverVersion(void) { return 1 << 16 | 1; }
EXPORT(BOOL) WireGuardSetAdapterLogging(void *a, int how) { note("logging %d\n", how); return TRUE; }
EXPORT(BOOL) WireGuardGetAdapterState(void *a, int *s) { *s = state; return TRUE; }

EXPORT(BOOL) WireGuardSetAdapterState(void *a, int s)
{
	note(s ? "up\n" : "down\n");
	state = s;
	if (s && !head.port)
		head.port = GIVEN_PORT;
	return TRUE;
}

static void drop(const BYTE *key)
{
	for (DWORD i = 0; i < head.peers; i++)
		if (!memcmp(known[i].peer.public_key, key, 32)) {
			memmove(known + i, known + i + 1, (head.peers - i - 1) * sizeof *known);
			head.peers--;
			return;
		}
}

EXPORT(BOOL) WireGuardSetConfiguration(void *a, const BYTE *config, DWORD size)
{
	note("config ");
	for (DWORD i = 0; i < size; i++)
		note("%02x", config[i]);
	note("\n");
	if (a != adapter || failing_configs > 0) {
		failing_configs -= a == adapter;
		SetLastError(ERROR_FILE_NOT_FOUND);
		return FALSE;
	}
	const HEAD *in = (const HEAD *)config;
	if (in->flags & HAS_PRIVATE_KEY)
		memcpy(head.private_key, in->private_key, 32);
	if (in->flags & HAS_LISTEN_PORT)
		head.port = in->port;
	if (in->flags & REPLACE_PEERS)
		head.peers = 0;
	const BYTE *at = config + sizeof *in;
	for (DWORD i = 0; i < in->peers; i++) {
		const PEER *p = (const PEER *)at;
		at += sizeof *p + p->allowed_ips * sizeof(ALLOWED_IP);
		if (at > config + size || p->allowed_ips > 1) {
			SetLastError(ERROR_INVALID_PARAMETER);
			return FALSE;
		}
		drop(p->public_key);
		if (p->flags & PEER_REMOVE || head.peers == MAX_PEERS)
			continue;
		KNOWN *k = &known[head.peers++];
		memcpy(k, p, sizeof *p + p->allowed_ips * sizeof(ALLOWED_IP));
		k->peer.flags = 0;
	}
	return TRUE;
}

EXPORT(BOOL) WireGuardGetConfiguration(void *a, BYTE *config, DWORD *size)
{
	DWORD need = sizeof head, had = *size;
	for (DWORD i = 0; i < head.peers; i++)
		need += sizeof(PEER) + known[i].peer.allowed_ips * sizeof(ALLOWED_IP);
	*size = need;
	if (had < need) {
		SetLastError(ERROR_MORE_DATA);
		return FALSE;
	}
	memcpy(config, &head, sizeof head);
	BYTE *at = config + sizeof head;
	for (DWORD i = 0; i < head.peers; i++) {
		DWORD length = sizeof(PEER) + known[i].peer.allowed_ips * sizeof(ALLOWED_IP);
		memcpy(at, &known[i], length);
		at += length;
	}
	return TRUE;
}

_Static_assert(sizeof(HEAD) == 80 && sizeof(PEER) == 136 && sizeof(ALLOWED_IP) == 24, "as in wireguard.h");
