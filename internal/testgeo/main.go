// Command testgeo writes a GeoIP file that knows a few addresses, for the browser tests.
package main

import (
	"fmt"
	"net"
	"os"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// places are addresses of the networks for documentation, and where they are said to be.
var places = []struct {
	network, country, city string
	lat, lon               float64
}{
	{"192.0.2.0/26", "GB", "London", 51.51, -0.13},
	{"192.0.2.64/26", "CN", "Jinan", 36.67, 117.0},
	{"192.0.2.128/26", "BR", "São Paulo", -23.55, -46.63},
	{"192.0.2.192/26", "US", "New York", 40.71, -74.01},
	{"198.51.100.0/25", "KE", "Nairobi", -1.29, 36.82},
	{"198.51.100.128/25", "AU", "Sydney", -33.87, 151.21},
	{"2001:db8::/32", "DE", "Berlin", 52.52, 13.41},
}

func main() {
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(path string) error {
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "DBIP-City-Lite", RecordSize: 24, IncludeReservedNetworks: true})
	if err != nil {
		return err
	}
	for _, p := range places {
		_, network, err := net.ParseCIDR(p.network)
		if err != nil {
			return err
		}
		err = tree.Insert(network, mmdbtype.Map{
			"country":  mmdbtype.Map{"iso_code": mmdbtype.String(p.country)},
			"city":     mmdbtype.Map{"names": mmdbtype.Map{"en": mmdbtype.String(p.city)}},
			"location": mmdbtype.Map{"latitude": mmdbtype.Float64(p.lat), "longitude": mmdbtype.Float64(p.lon)},
		})
		if err != nil {
			return err
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := tree.WriteTo(f); err != nil {
		return err
	}
	return f.Close()
}
