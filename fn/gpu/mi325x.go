package gpu

// MI325X: AMD Instinct MI325X data sheet; PCI ids from AMD's k8s-device-plugin.
var _ = register(Accelerator{
	Name:         "MI325X",
	MemoryGiB:    256,
	BandwidthTBs: 6.0,
	Architecture: "gfx942",
	Generation:   325,
	DeviceIDs:    []string{"74a5", "74b9"},
	Precisions:   precisionsCDNA3,
	Native:       nativeCDNA3,
	MaxPerNode:   8,
})
