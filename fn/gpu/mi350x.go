package gpu

// MI350X: AMD Instinct MI350X data sheet; PCI ids from AMD's k8s-device-plugin.
var _ = register(Accelerator{
	Name:         "MI350X",
	MemoryGiB:    288,
	BandwidthTBs: 8.0,
	Architecture: "gfx950",
	Generation:   350,
	DeviceIDs:    []string{"75a0", "75b0"},
	Precisions:   precisionsCDNA3,
	Native:       nativeCDNA4,
	MaxPerNode:   8,
})
