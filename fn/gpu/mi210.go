package gpu

// MI210: AMD Instinct MI210 data sheet; PCI ids from AMD's k8s-device-plugin.
var _ = register(Accelerator{
	Name:         "MI210",
	MemoryGiB:    64,
	BandwidthTBs: 1.6,
	Architecture: "gfx90a",
	Generation:   210,
	DeviceIDs:    []string{"740f", "7410"},
	Precisions:   precisionsCDNA2,
	Native:       nativeCDNA2,
	MaxPerNode:   8,
})
