package config

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
)

// What 'config print' prints is itself a file that gives the same configuration.
func TestPrintIsValidInput(t *testing.T) {
	odd := Default()
	odd.Listen = []string{"127.0.0.1:0", "[::1]:0"}
	odd.Data = "a \"folder\" of O'Brien\\\t1"
	odd.Sync = Sync{Mode: SyncInterval, Interval: 1500 * time.Millisecond}
	odd.AllowAnonymous = true
	odd.Listen = append(odd.Listen, "wss://:443/mqtt")
	odd.TLS = TLS{Cert: "c.pem", Key: "k.pem", ClientCA: "ca.pem", MinVersion: TLS13}
	odd.WebSocket.Origins = []string{"*.example.com", "https://app.example.org:8080"}
	odd.Sessions = Sessions{Expiry: Expiry(90 * time.Minute), MaxExpiry: Expiry(10*week + day), QueueQoS0: true, MaxInflight: 1}
	odd.Limits.Bytes = 3*MiB + 1
	odd.Limits.DiskBudget = Budget{}
	odd.Limits.RefuseGrace = time.Minute
	odd.Log.Level = LevelError
	for name, c := range map[string]*Config{"default": Default(), "odd": odd} {
		t.Run(name, func(t *testing.T) {
			var printed bytes.Buffer
			if err := c.Print(&printed); err != nil {
				t.Fatal(err)
			}
			back, err := Load(write(t, printed.String()), nil, nil)
			if err != nil {
				t.Fatalf("%v\n%s", err, &printed)
			}
			if len(back.origin) != len(keys) {
				t.Errorf("%d of %d keys printed", len(back.origin), len(keys))
			}
			back.origin = nil
			if !reflect.DeepEqual(back, c) {
				t.Errorf("got  %+v\nwant %+v", back, c)
			}
			for i := range keys {
				if strings.TrimSpace(keys[i].doc) == "" {
					t.Errorf("%s has no comment", keys[i].path)
				}
			}
		})
	}
}

// Every field of Config is reached by exactly one key.
func TestEveryFieldHasAKey(t *testing.T) {
	reached := make(map[uintptr]string)
	c := Default()
	for i := range keys {
		p := reflect.ValueOf(keys[i].field(c)).Pointer()
		if other, ok := reached[p]; ok {
			t.Errorf("%s and %s are the same field", keys[i].path, other)
		}
		reached[p] = keys[i].path
	}
	var walk func(v reflect.Value, name string)
	walk = func(v reflect.Value, name string) {
		for i := range v.NumField() {
			f, at := v.Type().Field(i), v.Field(i)
			if !f.IsExported() || f.Name == "Warnings" || f.Name == "Bridges" || f.Name == "Special" { // those have keys of their own
				continue
			}
			if _, ok := reached[at.Addr().Pointer()]; ok && f.Type != reflect.TypeFor[Sessions]() && f.Type != reflect.TypeFor[TLS]() && f.Type != reflect.TypeFor[WebSocket]() && f.Type != reflect.TypeFor[Limits]() && f.Type != reflect.TypeFor[Journal]() && f.Type != reflect.TypeFor[Log]() {
				continue
			}
			if f.Type.Kind() == reflect.Struct {
				walk(at, name+f.Name+".")
				continue
			}
			t.Errorf("no key sets %s%s", name, f.Name)
		}
	}
	walk(reflect.ValueOf(c).Elem(), "Config.")
}
