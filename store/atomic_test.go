package store

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"zombiezen.com/go/sqlite"
)

// A world is a database in which everything that can be changed is there.
type world struct {
	path string

	ada, eve, zoe                      Operator // zoe has everything that signs in
	session                            Session
	token                              APIToken
	passkey                            Passkey
	code                               Code
	active, pending, replacing, locked Device
}

func makeWorld(t *testing.T) world {
	t.Helper()
	s, ctx := openTest(t), t.Context()
	w := world{path: s.path(t), ada: addOperator(t, s, "ada"), eve: addOperator(t, s, "eve"), zoe: addOperator(t, s, "zoe")}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	w.session, err = s.AddSession(ctx, hash("cookie"), Session{OperatorID: w.zoe.ID, ExpiresAt: noon, RemoteAddr: "192.0.2.1"}, Record{})
	must(err)
	w.token, err = s.AddAPIToken(ctx, hash("token"), APIToken{OperatorID: w.zoe.ID}, Record{})
	must(err)
	w.passkey, err = s.AddPasskey(ctx, Passkey{OperatorID: w.zoe.ID, Name: "key", RPID: "localhost", CredentialID: []byte("id"), Credential: []byte("{}")}, Record{})
	must(err)
	must(s.SetTOTP(ctx, w.zoe.ID, []byte("sealed"), 1, Record{}))
	must(s.SetRecoveryCodes(ctx, w.zoe.ID, [][32]byte{hash("recovery"), hash("another")}, Record{}))
	w.code = addCode(t, s, "code", Code{Uses: 9, Site: "Berlin"})
	addCode(t, s, "approving", Code{Uses: 9, AutoApprove: true, Site: "Oslo"})
	for i, d := range []struct {
		into          *Device
		code, machine string
	}{
		{&w.active, "approving", "m1"}, {&w.locked, "approving", "m2"}, {&w.pending, "code", "m3"}, {&w.replacing, "code", "m1"},
	} {
		*d.into, err = s.RedeemCode(ctx, hash(d.code), Device{Hostname: fmt.Sprint("pc-", i), Machine: d.machine, Pin: pin(i)}, noon, Record{})
		must(err)
	}
	must(s.AddLock(ctx, Lock{Kind: LockDevice, Target: w.locked.ID, Reason: "lost", At: noon}, Record{Actor: "ada"}))
	must(s.AddLock(ctx, Lock{Kind: LockOperator, Target: w.eve.ID, Reason: "on leave", At: noon, Until: noon.Add(time.Hour)}, Record{Actor: "ada"}))
	addTunnel(t, s, "t1", w.active)
	_, err = s.SetOverrides(ctx, w.active.ID, 0, someOverrides())
	must(err)
	must(s.Close())
	return w
}

// recording are the methods that change something and record it, each as it succeeds.
func recording(w world) map[string]func(*testing.T, *Store) error {
	later := noon.Add(100 * time.Hour)
	return map[string]func(*testing.T, *Store) error{
		"AddOperator": func(t *testing.T, s *Store) error {
			_, err := s.AddOperator(t.Context(), Operator{Name: "new", PasswordHash: "h", Role: "viewer", Sites: []string{"Oslo"}}, Record{})
			return err
		},
		"AddOIDCOperator": func(t *testing.T, s *Store) error {
			_, err := s.AddOIDCOperator(t.Context(), Operator{Name: "new", Role: "viewer"}, "https://idp", "42", Record{})
			return err
		},
		"SetPassword":    func(t *testing.T, s *Store) error { return s.SetPassword(t.Context(), w.zoe.ID, "new", Record{}) },
		"SetRole":        func(t *testing.T, s *Store) error { return s.SetRole(t.Context(), w.zoe.ID, "viewer", nil, Record{}) },
		"DeleteOperator": func(t *testing.T, s *Store) error { return s.DeleteOperator(t.Context(), w.zoe.ID, Record{}) },
		"SetTOTP": func(t *testing.T, s *Store) error {
			return s.SetTOTP(t.Context(), w.zoe.ID, []byte("new"), 7, Record{})
		},
		"DeleteTOTP": func(t *testing.T, s *Store) error { return s.DeleteTOTP(t.Context(), w.zoe.ID, Record{}) },
		"AddPasskey": func(t *testing.T, s *Store) error {
			_, err := s.AddPasskey(t.Context(), Passkey{OperatorID: w.zoe.ID, CredentialID: []byte("2"), Credential: []byte("{}")}, Record{})
			return err
		},
		"DeletePasskey": func(t *testing.T, s *Store) error {
			return s.DeletePasskey(t.Context(), w.zoe.ID, w.passkey.ID, Record{})
		},
		"SetRecoveryCodes": func(t *testing.T, s *Store) error {
			return s.SetRecoveryCodes(t.Context(), w.zoe.ID, [][32]byte{hash("new")}, Record{})
		},
		"UseRecoveryCode": func(t *testing.T, s *Store) error {
			return s.UseRecoveryCode(t.Context(), w.zoe.ID, hash("recovery"), Record{})
		},
		"ResetFactors": func(t *testing.T, s *Store) error { return s.ResetFactors(t.Context(), w.zoe.ID, Record{}) },
		"AddSession": func(t *testing.T, s *Store) error {
			_, err := s.AddSession(t.Context(), hash("second"), Session{OperatorID: w.zoe.ID}, Record{})
			return err
		},
		"VerifySession": func(t *testing.T, s *Store) error {
			return s.VerifySession(t.Context(), w.session.ID, hash("new"), noon, Record{})
		},
		"DeleteSession": func(t *testing.T, s *Store) error {
			return s.DeleteSession(t.Context(), w.session.ID, Record{Kind: "signed_out"})
		},
		"AddAPIToken": func(t *testing.T, s *Store) error {
			_, err := s.AddAPIToken(t.Context(), hash("new"), APIToken{OperatorID: w.zoe.ID}, Record{})
			return err
		},
		"DeleteAPIToken": func(t *testing.T, s *Store) error { return s.DeleteAPIToken(t.Context(), w.token.ID, Record{}) },
		"AddLock": func(t *testing.T, s *Store) error {
			return s.AddLock(t.Context(), Lock{Kind: LockSite, Target: "Berlin"}, Record{})
		},
		"DeleteLock": func(t *testing.T, s *Store) error {
			return s.DeleteLock(t.Context(), LockDevice, w.locked.ID, Record{})
		},
		"ExpireLocks": func(t *testing.T, s *Store) error { return s.ExpireLocks(t.Context(), later) },
		"RedeemCode": func(t *testing.T, s *Store) error {
			_, err := s.RedeemCode(t.Context(), hash("code"), Device{Pin: pin(9)}, noon, Record{})
			return err
		},
		"ApproveDevice": func(t *testing.T, s *Store) error {
			return s.ApproveDevice(t.Context(), w.replacing.ID, Replace, Record{})
		},
		"DenyDevice": func(t *testing.T, s *Store) error { return s.DenyDevice(t.Context(), w.pending.ID, Record{}) },
		"SetDeviceState": func(t *testing.T, s *Store) error {
			return s.SetDeviceState(t.Context(), w.active.ID, Revoked, noon, Record{})
		},
		"ExpirePending": func(t *testing.T, s *Store) error {
			_, err := s.ExpirePending(t.Context(), later)
			return err
		},
		"AddCode": func(t *testing.T, s *Store) error {
			_, err := s.AddCode(t.Context(), hash("new"), Code{ExpiresAt: later}, Record{})
			return err
		},
		"DeleteCode": func(t *testing.T, s *Store) error { return s.DeleteCode(t.Context(), w.code.ID, Record{}) },
		"AddRecord":  func(t *testing.T, s *Store) error { return s.AddRecord(t.Context(), Record{Kind: "k"}) },
		"AddTunnel": func(t *testing.T, s *Store) error {
			v := Tunnel{ID: "t2", DeviceID: w.locked.ID, TokenID: "j2", State: "requested"}
			return s.AddTunnel(t.Context(), v, later, Record{})
		},
		"EndTunnel": func(t *testing.T, s *Store) error {
			_, err := s.EndTunnel(t.Context(), "t1", "r", noon, 1, 2, nil, Record{})
			return err
		},
		"EndOpenTunnels": func(t *testing.T, s *Store) error {
			_, err := s.EndOpenTunnels(t.Context(), "r", noon)
			return err
		},
		"SetOverrides": func(t *testing.T, s *Store) error {
			_, err := s.SetOverrides(t.Context(), w.active.ID, 1, nil)
			return err
		},
		"ExpireOverrides": func(t *testing.T, s *Store) error {
			_, err := s.ExpireOverrides(t.Context(), later)
			return err
		},
	}
}

// unrecorded are all other methods: they change nothing, or what is only a trace of
// something, or they take something away that can be used once.
const unrecorded = `
	AddCheckpoint Lease RedeemToken RehashPassword SaveTunnel SeenDevice SetInventory SetSetting SpendVerification TouchSession
	DeleteExpiredSessions UpdateDevice UsePasskey UseTOTP
	APITokenByHash APITokens Backup Changes Check Checkpoints Close Codes CountRecords Device DeviceByPin Devices EachRecord Err Factors Failed Figures
	Head Inventory Kinds LastCheckpoint Locks NextExpiry OpenTunnels Operator OperatorByIdentity OperatorByName Operators Overrides PasskeyByCredential Records SchemaVersion
	SessionByHash Sessions Setting Sites Standing TOTP Tunnel TunnelRecords Tunnels`

// TestNothingWithoutItsRecord makes sure that what cannot be recorded is not done.
func TestNothingWithoutItsRecord(t *testing.T) {
	t.Parallel()
	w := makeWorld(t)
	methods := recording(w)
	known := slices.Concat(slices.Collect(maps.Keys(methods)), strings.Fields(unrecorded))
	for method := range reflect.TypeFor[*Store]().Methods() {
		if !slices.Contains(known, method.Name) {
			t.Errorf("%s is in neither list of this test", method.Name)
		}
	}
	for name, call := range methods {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "copy.db")
			copyFile(t, w.path, path)
			s, conn := openAt(t, path), openRaw(t, path)
			before, lines := contents(t, conn), checkChain(t, s)
			do(t, conn, "CREATE TRIGGER audit_full BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'no room is left'); END")
			if err := call(t, s); err == nil || !strings.Contains(err.Error(), "no room is left") {
				t.Errorf("error %v, want the one of the record", err)
			}
			if diff := cmp.Diff(before, contents(t, conn)); diff != "" {
				t.Errorf("without its record (-before +after):\n%s", diff)
			}
			// Otherwise it would have been done.
			do(t, conn, "DROP TRIGGER audit_full")
			if err := call(t, s); err != nil {
				t.Fatal(err)
			}
			after := contents(t, conn)
			if name != "AddRecord" {
				delete(before, "audit")
				delete(after, "audit")
			}
			if n := checkChain(t, s); n <= lines || cmp.Equal(before, after) {
				t.Errorf("it changed nothing, or it recorded nothing: %d lines before, %d after", lines, n)
			}
		})
	}
}

// contents are all rows of all tables.
func contents(t *testing.T, conn *sqlite.Conn) map[string][]string {
	t.Helper()
	all := make(map[string][]string)
	var tables []string
	rows(t, conn, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'", func(stmt *sqlite.Stmt) {
		tables = append(tables, stmt.ColumnText(0))
	})
	for _, table := range tables {
		rows(t, conn, "SELECT * FROM "+table, func(stmt *sqlite.Stmt) {
			var row []string
			for i := range stmt.ColumnCount() {
				row = append(row, stmt.ColumnText(i))
			}
			all[table] = append(all[table], fmt.Sprintf("%q", row))
		})
	}
	return all
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	source, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(target, source); err != nil {
		t.Fatal(err)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
}
