package e2e

import (
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.yaml.in/yaml/v3"

	"signald/internal/testnode"
)

// A client at the trusted address itself is the worst case: what it writes into the header is
// believed by the server, unless the proxy takes it away.
func TestProxiesPassOnNoAddressThatAClientInvented(t *testing.T) {
	for name, proxy := range map[string]func(t *testing.T, addr, signald string){
		"nginx": func(t *testing.T, addr, signald string) {
			nginx(t, addr, `
include signald/map.conf;
upstream signald { server `+signald+`; }
server {
	listen `+addr+`;
	location / {
		proxy_pass http://signald;
		include signald/proxy.conf;
	}
}`)
		},
		"caddy": func(t *testing.T, addr, signald string) { caddy(t, addr, loopback(t), signald) },
	} {
		t.Run(name, func(t *testing.T) {
			n := testnode.New(t, "SIGNALD_TRUSTED_PROXIES=127.0.0.1/32", "SIGNALD_BEHIND_PROXY=true", "SIGNALD_RATE_LIMITS=on")
			n.Start()
			addr := loopback(t)
			proxy(t, addr, strings.TrimPrefix(n.URL, "http://"))
			url, local := "http://"+addr, from("127.0.0.1")
			for _, forged := range []string{"6.6.6.6", "6.6.6.6, 127.0.0.1", "127.0.0.1, 6.6.6.6", "::1"} {
				do(t, local, "POST", url+"/api/v1/meetings", `{}`, "X-Forwarded-For", forged)
			}
			_, audit := do(t, local, "GET", url+"/api/v1/admin/audit?format=ndjson", "", "Authorization", "Bearer "+testnode.AdminToken)
			if strings.Count(audit, `"creator_ip":"127.0.0.1"`) != 4 {
				t.Errorf("the audit: %s", audit)
			}
			var refused atomic.Int64
			var all sync.WaitGroup
			for i := range 60 { // an address for each guess gives no more guesses
				all.Go(func() {
					forged := netip.AddrFrom4([4]byte{9, 9, 9, byte(i)}).String()
					if resp, _ := do(t, local, "POST", url+"/api/v1/admin/login", `{"token":"wrong-wrong-wrong"}`, "X-Forwarded-For", forged); resp != nil && resp.StatusCode == http.StatusTooManyRequests {
						refused.Add(1)
					}
				})
			}
			all.Wait()
			if refused := refused.Load(); refused < 45 {
				t.Errorf("%d of 60 guesses were refused", refused)
			}
		})
	}
}

func TestEveryFileTrustsOneAddress(t *testing.T) {
	setting := regexp.MustCompile(`SIGNALD_TRUSTED_PROXIES[:=] *"?([^\s"]+)`)
	found := 0
	for _, root := range []string{"../../deploy", "../../docs", "../../README.md"} {
		err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range setting.FindAllStringSubmatch(string(text), -1) {
				found++
				if p, err := netip.ParsePrefix(m[1]); err != nil || !p.IsSingleIP() {
					t.Errorf("%s trusts %s", path, m[1])
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 6 {
		t.Errorf("%d settings found", found)
	}
}

// The address that is trusted is nginx's, and compose gives it to nobody else.
func TestComposeGivesTheTrustedAddressToNginxAlone(t *testing.T) {
	text, err := os.ReadFile("../../deploy/compose.two-nodes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Environment map[string]string
			Networks    map[string]struct {
				Address string `yaml:"ipv4_address"`
			}
		}
		Networks map[string]struct {
			IPAM struct {
				Config []struct {
					Subnet string
					Range  string `yaml:"ip_range"`
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	nginx := netip.MustParseAddr(file.Services["nginx"].Networks["default"].Address)
	network := file.Networks["default"].IPAM.Config[0]
	if !netip.MustParsePrefix(network.Subnet).Contains(nginx) || netip.MustParsePrefix(network.Range).Contains(nginx) {
		t.Errorf("%s in %+v", nginx, network)
	}
	for _, node := range []string{"signald-1", "signald-2"} {
		if got := file.Services[node].Environment["SIGNALD_TRUSTED_PROXIES"]; got != nginx.String()+"/32" {
			t.Errorf("%s trusts %s, nginx is %s", node, got, nginx)
		}
	}
}
